package knative_test

import (
	"os"
	"strings"
	"testing"
)

// TestInstall does what docs/install.md says of a cluster: it runs the commands of that page in their order, with this cluster's names in place of
// the examples', and sees an app live at the ingress. A command that is in the page and not run here fails the test.
func TestInstall(t *testing.T) {
	t.Parallel()
	managed.Lock()
	t.Cleanup(managed.Unlock)
	page := readPage(t)
	g := newGuide(t, page)

	g.in("What the cluster needs")
	g.run("kubectl get crd services.serving.knative.dev")
	g.run("kubectl -n knative-serving get configmap config-domain -o yaml", domain)

	g.in("Images")
	g.buildInstead("make build")
	g.run("bin/gitd image create --push registry.example.com/team/gitd:1", "is ready")
	g.run("bin/gitd builder create --push registry.example.com/team/builder:1", "builder:1 is ready")

	g.in("Inside the cluster")
	g.writeOverlay("../config/app-namespaces", "")
	t.Cleanup(g.remove)
	g.run("kubectl apply -k my-gitd")
	g.run("kubectl -n gitd-system rollout status statefulset/gitd --timeout=15m")
	g.follow("kubectl -n gitd-system logs gitd-0 -f", "Ready: ssh on")
	g.run("kubectl -n gitd-system exec -i gitd-0 -- gitd keys add laptop --admin < ~/.ssh/id_ed25519.pub", "Added key laptop")
	g.run("kubectl -n gitd-system get service gitd        # EXTERNAL-IP is where to push to", "LoadBalancer")
	g.forward()
	g.newApp("one")
	g.run("git remote add platform ssh://git@EXTERNAL-IP/hello")
	g.run("git push platform main", "is live")
	g.answers("hello.app-hello", "one")

	// One more of what people do first, which the page does not spell out; the scripts push_*.txtar do so in each language.
	requests := g.load("hello.app-hello")
	g.change("two")
	g.command("git push platform main", "is live")
	g.answers("hello.app-hello", "two")
	if asked, failed := requests(); failed > 0 || asked < 20 {
		t.Errorf("%d of %d requests failed while a new version went live", failed, asked)
	}
	g.command("kubectl get ksvc,revision -n app-hello", "hello-v2")

	g.in("Upgrading, and removing")
	g.run("bin/gitd image create --push registry.example.com/team/gitd:2", "is ready")
	requests = g.load("hello.app-hello")
	g.run("kubectl -n gitd-system set image statefulset/gitd gitd=registry.example.com/team/gitd:2")
	g.run("kubectl -n gitd-system rollout status statefulset/gitd --timeout=15m")
	if asked, failed := requests(); failed > 0 || asked < 20 {
		t.Errorf("%d of %d requests failed during the upgrade", failed, asked)
	}
	g.command("kubectl -n gitd-system get pod gitd-0 -o jsonpath='{.spec.containers[0].image}'", "gitd:2")
	g.forward()
	g.change("three") // builds on what the one before left, and nodes pull what the one before pushed
	g.command("git push platform main", "is live")
	g.answers("hello.app-hello", "three")
	g.run("kubectl -n gitd-system exec gitd-0 -- gitd apps destroy hello", "Destroyed hello")
	g.command("kubectl get namespaces", "!app-hello   Active")
	g.run("kubectl delete -k my-gitd")
	g.command(endPods)
	g.inline("kubectl delete namespace -l app.kubernetes.io/managed-by=gitd")
	g.command("kubectl get clusterrole,clusterrolebinding,namespace", "!gitd")

	// The default: rights in two namespaces, and no other. And images in another registry.
	g.writeOverlay("../config", g.otherRegistry())
	g.command("kubectl apply -k my-gitd")
	g.in("The registry")
	g.run("kubectl -n gitd-system create secret generic gitd-registry --from-file=config.json=$HOME/.docker/config.json")
	g.command("kubectl -n gitd-system rollout status statefulset/gitd --timeout=15m")
	g.command("kubectl auth can-i list secrets -n gitd-apps --as=system:serviceaccount:gitd-system:gitd", "yes")
	g.command("! kubectl auth can-i list secrets -n default --as=system:serviceaccount:gitd-system:gitd", "no")
	g.command("! kubectl auth can-i create namespaces --as=system:serviceaccount:gitd-system:gitd", "no")
	g.command("kubectl -n gitd-system exec -i gitd-0 -- gitd keys add laptop --admin < ~/.ssh/id_ed25519.pub", "Added key laptop")
	g.forward()
	g.command("git push platform main", "is live")
	g.answers("hello.gitd-apps", "three")
	g.command("kubectl -n gitd-apps get ksvc hello -o jsonpath='{.spec.template.spec.containers[0].image}'", pullFrom+"/"+g.team+"/apps/hello@sha256:")

	g.complete()
}

// readPage returns the part of docs/install.md that is about clusters.
func readPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, ok := strings.Cut(string(b), "\n# On a cluster\n")
	if !ok {
		t.Fatal("docs/install.md has no part about clusters")
	}
	return page
}
