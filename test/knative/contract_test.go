package knative_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/contract"
	"github.com/gitd-io/gitd/internal/kube"
)

// TestContract runs the suite that the platform on one machine passes as well, beside the other tests: its slowest cases wait for minutes.
func TestContract(t *testing.T) {
	t.Parallel()
	c := client(t)
	namespace := newNamespace(t, c, "contract")
	contract.Run(t, func(t *testing.T, img v1.Image) *contract.Env {
		return &contract.Env{Platform: open(t, options(t, c, namespace)), Address: ingress, Domain: namespace + "." + domain, Image: push(t, "testapp", img),
			Reopen:      func() deploy.Platform { return open(t, options(t, client(t), namespace)) },
			Progress:    "20s", // with the time that the node takes to make the container
			Start:       "3m",
			Check:       30 * time.Second,
			Rest:        100 * time.Millisecond,
			EndsStreams: "Knative's timeout is that of the whole response",
			HidesPorts:  "a cluster does not tell which ports are open in a pod",
			Edit: func(ctx context.Context, service string, change func(*servingv1.Service)) error {
				return edit(ctx, c, namespace, service, change)
			},
			Collect: func(ctx context.Context, _, revision string) error {
				return c.Resource(revisions, namespace).Delete(ctx, revision, metav1.DeleteOptions{})
			},
			Down: func(ctx context.Context, _, revision string) error { return untilFailed(ctx, c, namespace, revision) },
		}
	})
}

// untilFailed waits until Knative says that a revision fails. It looks at pods only when their Deployment changes.
func untilFailed(ctx context.Context, c *kube.Client, namespace, revision string) error {
	for {
		u, err := c.Resource(revisions, namespace).Get(ctx, revision, metav1.GetOptions{})
		if err != nil {
			return err
		}
		var rev servingv1.Revision
		if err := kube.Into(u, &rev); err != nil || rev.IsFailed() {
			return err
		}
		look := fmt.Appendf(nil, `{"metadata":{"annotations":{"look-again":%q}}}`, rand.Text())
		if _, err := c.Resource(deployments, namespace).Patch(ctx, revision+"-deployment", types.MergePatchType, look, metav1.PatchOptions{}); err != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
