// Command testhandler is a function for AWS Lambda, for tests of package lambda: what it does is in the event.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// oops is an error with a type of its own.
type oops struct{ what string }

func (o oops) Error() string { return o.what }

// endless is an answer that does not end.
type endless struct {
	text  string
	pause time.Duration
}

func (e *endless) Read(p []byte) (int, error) {
	time.Sleep(e.pause)
	return copy(p, e.text), nil
}

func main() {
	if os.Getenv("TEST_INIT") == "panic" {
		panic("no database")
	}
	if f := os.Getenv("TEST_INIT_ONCE"); f != "" { // fails from the second start on
		if _, err := os.Stat(f); err == nil {
			fmt.Println("not again")
			os.Exit(7)
		}
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			panic(err)
		}
	}
	lambda.Start(handle)
}

func handle(ctx context.Context, raw json.RawMessage) (any, error) {
	var e struct {
		Do      string `json:"do"`
		Version string `json:"version"`
		Type    string `json:"type"`
		Path    string `json:"rawPath"`
	}
	_ = json.Unmarshal(raw, &e) // what is no object does nothing
	if e.Do == "" {
		e.Do = strings.Trim(e.Path, "/")
	}
	switch e.Do {
	case "error":
		return nil, errors.New("it did not work")
	case "typed":
		return nil, oops{"typed"}
	case "panic":
		panic("oh no")
	case "exit":
		os.Exit(3)
	case "sleep":
		time.Sleep(20 * time.Second)
	case "brief":
		time.Sleep(300 * time.Millisecond)
		return "rested", nil
	case "large":
		return strings.Repeat("x", 7<<20), nil
	case "string":
		return "Hello from Lambda!", nil
	case "nothing":
		return nil, nil
	case "number":
		return 42, nil
	case "badstatus":
		return map[string]any{"statusCode": "teapot"}, nil
	case "badheader":
		return map[string]any{"statusCode": 200, "headers": map[string]string{"X-A": "a\r\nX-B: b"}}, nil
	case "full":
		return events.APIGatewayV2HTTPResponse{StatusCode: 201, Headers: map[string]string{"Content-Type": "image/png", "X-One": "1"}, Cookies: []string{"a=1; Path=/", "b=2"}, Body: "iVBORw==", IsBase64Encoded: true}, nil
	case "stream":
		return &events.LambdaFunctionURLStreamingResponse{StatusCode: 202, Headers: map[string]string{"Content-Type": "text/event-stream"}, Body: strings.NewReader("data: 1\n\ndata: 2\n\n")}, nil
	case "ticks":
		return &events.LambdaFunctionURLStreamingResponse{StatusCode: 200, Body: &endless{text: "tick\n", pause: 20 * time.Millisecond}}, nil
	case "flood":
		return &events.LambdaFunctionURLStreamingResponse{StatusCode: 200, Body: &endless{text: strings.Repeat("x", 64<<10)}}, nil
	case "reply":
		return map[string]string{"specversion": "1.0", "id": "r-1", "source": "/function", "type": "t.reply"}, nil
	case "env":
		env := map[string]string{}
		for _, name := range []string{"_HANDLER", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "PORT", "SUM"} {
			env[name] = os.Getenv(name)
		}
		return env, nil
	case "context":
		c, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]any{"arn": c.InvokedFunctionArn, "id": c.AwsRequestID != "", "client": c.ClientContext.Custom["k"], "left": time.Until(deadline).Round(time.Second).Seconds()}, nil
	}
	return map[string]any{"got": raw}, nil
}
