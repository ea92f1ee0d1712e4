// Package lambda runs a function that is written for AWS Lambda as a server of HTTP: the program gitd-lambda, which is in an app's image. It
// imports little, because its start is part of each cold start.
package lambda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The limits of AWS Lambda on what an invocation takes and gives.
const (
	maxRequest  = 6 << 20
	maxResponse = 6<<20 + 100
)

// defaultTimeout bounds an invocation where AWS_LAMBDA_FUNCTION_TIMEOUT does not.
const defaultTimeout = 300 * time.Second

// Config is how a function runs.
type Config struct {
	Handler   string        // what the runtime calls, as _HANDLER; may be empty
	Signature string        // what requests become: "http" events of API Gateway, payload format 2.0; "cloudevent" the JSON of a CloudEvent; "" either, by what they are
	Command   []string      // the runtime: a program and its arguments
	Env       []string      // of the runtime, as far as it is not made here
	Address   string        // to listen on, host:port
	Timeout   time.Duration // of an invocation
	Name      string        // of the function
	Memory    int           // MB that the function is told it has
	Invoke    bool          // clients may call the Invoke API, which hands over any event: AWS asks for IAM there, and here is nothing of the kind
	Log       func(format string, args ...any)
}

// The signatures.
const (
	signatureHTTP  = "http"
	signatureEvent = "cloudevent"
)

const usage = "gitd-lambda [--handler NAME] [--signature http|cloudevent] PROGRAM [ARGUMENT…]"

// Parse reads the arguments of gitd-lambda and its environment.
func Parse(args, env []string) (Config, error) {
	c := Config{Timeout: defaultTimeout, Name: "function", Memory: memoryLimit(os.ReadFile)}
	for len(args) > 0 && strings.HasPrefix(args[0], "--") {
		name, value, ok := strings.Cut(args[0], "=")
		args = args[1:]
		if name == "--" {
			break
		}
		if !ok {
			if len(args) == 0 {
				return c, fmt.Errorf("%s needs a value: %s", name, usage)
			}
			value, args = args[0], args[1:]
		}
		switch {
		case name == "--handler":
			c.Handler = value
		case name == "--signature" && (value == signatureHTTP || value == signatureEvent):
			c.Signature = value
		case name == "--signature":
			return c, fmt.Errorf("--signature is http or cloudevent, not %q", value)
		default:
			return c, fmt.Errorf("there is no %s: %s", name, usage)
		}
	}
	if len(args) == 0 {
		return c, errors.New("no program: " + usage)
	}
	c.Command, c.Env = args, env
	err := c.environment(env)
	return c, err
}

// environment reads what the app's environment says of how the function runs.
func (c *Config) environment(env []string) error {
	port := "8080"
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if value == "" {
			continue
		}
		switch name {
		case "PORT":
			port = value
		case "K_SERVICE", "AWS_LAMBDA_FUNCTION_NAME":
			if c.Name == "function" || name == "AWS_LAMBDA_FUNCTION_NAME" {
				c.Name = value
			}
		case "AWS_LAMBDA_FUNCTION_TIMEOUT":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > 900 {
				return fmt.Errorf("AWS_LAMBDA_FUNCTION_TIMEOUT is %q: it is a number of seconds from 1 to 900", value)
			}
			c.Timeout = time.Duration(n) * time.Second
		case "AWS_LAMBDA_INVOKE_API":
			if value != "0" && value != "1" {
				return fmt.Errorf("AWS_LAMBDA_INVOKE_API is %q: it is 1 for an Invoke API that is open to all clients, or 0", value)
			}
			c.Invoke = value == "1"
		case "AWS_LAMBDA_FUNCTION_MEMORY_SIZE":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				return fmt.Errorf("AWS_LAMBDA_FUNCTION_MEMORY_SIZE is %q: it is a number of MB", value)
			}
			c.Memory = n
		}
	}
	c.Address = ":" + port
	return nil
}

// memoryLimit is what the control group allows, in MB, or what a function is told where that is not limited.
func memoryLimit(read func(string) ([]byte, error)) int {
	for _, f := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		data, err := read(f)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && n>>20 > 0 && n>>20 <= 10240 {
			return int(n >> 20)
		}
	}
	return 3008
}

// runtimeEnv is the environment of the runtime. What the app has set stays, but for what says where the runtime API is.
func (c Config) runtimeEnv(api string) []string {
	root, err := os.Getwd()
	if err != nil {
		root = "/"
	}
	defaults := [][2]string{
		{"LAMBDA_TASK_ROOT", root},
		{"LAMBDA_RUNTIME_DIR", filepath.Dir(c.Command[0])},
		{"AWS_LAMBDA_FUNCTION_NAME", c.Name},
		{"AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"},
		{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", strconv.Itoa(c.Memory)},
		{"AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/" + c.Name},
		{"AWS_LAMBDA_LOG_STREAM_NAME", "$LATEST"},
		{"AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"},
		{"TZ", ":UTC"},
	}
	var list []string
	has := map[string]bool{}
	for _, kv := range c.Env {
		name, _, _ := strings.Cut(kv, "=")
		if name == "AWS_LAMBDA_RUNTIME_API" || name == "PORT" || name == "_HANDLER" && c.Handler != "" {
			continue
		}
		has[name] = true
		list = append(list, kv)
	}
	for _, d := range defaults {
		if !has[d[0]] {
			list = append(list, d[0]+"="+d[1])
		}
	}
	if c.Handler != "" {
		list = append(list, "_HANDLER="+c.Handler)
	}
	return append(list, "AWS_LAMBDA_RUNTIME_API="+api)
}
