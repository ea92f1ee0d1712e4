package project

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/function"
)

func TestFunction(t *testing.T) {
	for text, want := range map[string]string{
		"":                              `{}`,
		"target = \"hello\"":            `{"target":"hello"}`,
		"handler = \"src/app.handler\"": `{"contract":"lambda","handler":"src/app.handler"}`,
		"handler = \"bootstrap\"":       `{"contract":"lambda","handler":"bootstrap"}`,
		"handler = \"a.b\"\nsignature = \"http\"":                         `{"contract":"lambda","signature":"http","handler":"a.b"}`,
		"contract = \"knative\"\nsource = \"./fn/\"":                      `{"contract":"knative","source":"fn"}`,
		"target = \"hello\"\nsignature = \"cloudevent\"\nconcurrency = 8": `{"target":"hello","signature":"cloudevent","concurrency":8}`,
	} {
		d, err := Parse("[io.gitd.function]\n" + text)
		if err != nil || d.BuildEnv[catalog.FunctionVariable] != want {
			t.Errorf("%s: %s, %v", text, d.BuildEnv[catalog.FunctionVariable], err)
		}
	}
	if d, err := Parse("[io.gitd.web]\n"); err != nil || d.BuildEnv[catalog.FunctionVariable] != "" {
		t.Errorf("%v, %v", d.BuildEnv, err)
	}
}

func TestFunction_Errors(t *testing.T) {
	for text, want := range map[string]string{
		"targte = \"x\"":                                "line 3: unknown setting io.gitd.function.targte",
		"target = \"a b\"":                              "line 3: io.gitd.function.target: \"a b\" is not the name of a function",
		"target = \"x\"\nsignature = \"grpc\"":          "line 4: io.gitd.function.signature: \"grpc\" is not one of",
		"contract = \"azure\"":                          "line 3: io.gitd.function.contract: \"azure\" is not one of",
		"handler = \"handler\"":                         "line 3: io.gitd.function.handler: \"handler\" is not a handler of Lambda",
		"handler = \"a.b\"\ntarget = \"x\"":             "line 3: io.gitd.function.handler: it is for Lambda",
		"handler = \"a.b\"\ncontract = \"knative\"":     "line 3: io.gitd.function.handler: it goes with the contract lambda",
		"handler = \"a.b\"\nsignature = \"event\"":      "line 4: io.gitd.function.signature: handlers of Lambda have",
		"handler = \"a.b\"\nconcurrency = 2":            "line 4: io.gitd.function.concurrency: a handler of Lambda takes one request",
		"contract = \"knative\"\nsignature = \"event\"": "line 4: io.gitd.function.signature: functions of Knative",
		"source = \"../x\"":                             "line 3: io.gitd.function.source: \"../x\" is not a file or folder",
		"source = \"/etc\"":                             "line 3: io.gitd.function.source",
		"concurrency = 0":                               "line 3: io.gitd.function.concurrency: 0 is not between 1 and 1000",
		"concurrency = \"x\"":                           "concurrency",
	} {
		if _, err := Parse("# an app\n[ io.gitd.function ]\n" + text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := Parse("io.gitd.function.signature = \"x\""); err == nil || !strings.Contains(err.Error(), "line 1: ") {
		t.Error(err)
	}
}

// What the build found is a default: the app's own settings count more, but for the concurrency that the function says.
func TestWeb_Function(t *testing.T) {
	f := &function.Spec{Health: "/health/readiness", Concurrency: 1}
	d, err := Parse("[io.gitd.web]\nconcurrency = 5")
	if err != nil {
		t.Fatal(err)
	}
	if d.Web.Function(f); d.Web.HealthPath != "/health/readiness" || d.Web.Concurrency != 1 {
		t.Errorf("%+v", d.Web)
	}
	if d, err = Parse("[io.gitd.web]\nhealth-path = \"/up\""); err != nil {
		t.Fatal(err)
	}
	if d.Web.Function(f); d.Web.HealthPath != "/up" {
		t.Errorf("%+v", d.Web)
	}
	if d.Web.Function(nil); d.Web.HealthPath != "/up" {
		t.Errorf("%+v", d.Web)
	}
}
