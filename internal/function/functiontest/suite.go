package functiontest

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
)

// suiteVariable names the client of GoogleCloudPlatform/functions-framework-conformance, as make test-functions-suite does.
const suiteVariable = "GITD_TEST_FUNCTIONS_SUITE"

// suiteScript runs a client against a function. The client would start the function itself and wait for a fixed time: here it starts something else, when the function listens.
const suiteScript = `set -m
client=$1 signature=$2 kind=$3 slow=$4
shift 4
ip link set lo up
"$@" &
trap "kill -9 -- -$!" EXIT
until (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null; do
	kill -0 $! || exit 1
	sleep 0.1
done
"$client" -buildpacks=false -cmd="sleep 3600" -start-delay=0 -type="$signature" -declarative-type="$kind" -validate-concurrency="$slow"
`

// suite runs the Functions Framework's own conformance suite against a function of a type ("http", "typed", "cloudevent", "legacyevent"), where its client is at hand. The suite
// asks at port 8080: the function and the client get a network of their own. slow asks whether the function takes several calls at a time.
func suite(t *testing.T, kind string, slow bool, function *exec.Cmd) {
	t.Helper()
	client := os.Getenv(suiteVariable)
	if client == "" {
		return
	}
	signature := kind
	if kind == "typed" {
		signature = "http"
	}
	args := append([]string{"-n", "bash", "-c", suiteScript, "bash", client, signature, kind, strconv.FormatBool(slow), function.Path}, function.Args[1:]...)
	cmd := exec.Command("unshare", args...)
	cmd.Dir = function.Dir
	cmd.Env = append(slices.Clone(function.Env), "PORT=8080", "TMPDIR="+t.TempDir()) // the client keeps logs there
	out, err := cmd.CombinedOutput()
	t.Logf("the suite, %s:\n%s", kind, out)
	if err != nil {
		t.Errorf("the suite, %s: %v", kind, err)
	}
}
