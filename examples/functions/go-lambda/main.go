// Command lambda is a function of AWS Lambda: it takes events of API Gateway, and any other event as it is.
package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

func main() { lambda.Start(handle) }

func handle(_ context.Context, raw json.RawMessage) (any, error) {
	var r events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, err
	}
	if r.Version == "" {
		if string(raw) == `{"fail":true}` {
			return nil, errors.New("asked to")
		}
		return map[string]any{"event": raw}, nil
	}
	return events.APIGatewayV2HTTPResponse{StatusCode: 200, Headers: map[string]string{"Content-Type": "text/plain"}, Body: r.RequestContext.HTTP.Method + " " + r.RawPath + "\n"}, nil
}
