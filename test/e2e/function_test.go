package e2e

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdPost sends a request with a body to an app. Any status is a success.
func cmdPost(w *world, ts *testscript.TestScript, args []string) (output, error) {
	fs := flag.NewFlagSet("post", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	host, kind := fs.String("host", "", "name of the app"), fs.String("type", "application/json", "content type")
	ts.Check(fs.Parse(args))
	if fs.NArg() != 2 || w.http == "" {
		ts.Fatalf("usage, with a server running: post -host APP [-type TYPE] PATH BODY")
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+*host+"."+w.domain+fs.Arg(0), strings.NewReader(fs.Arg(1)))
	ts.Check(err)
	r.Header.Set("Content-Type", *kind)
	client := newClient(w.http, false)
	resp, err := client.Do(r)
	if err != nil {
		return output{stderr: err.Error() + "\n"}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return output{stdout: fmt.Sprintf("HTTP %d\n%s\n", resp.StatusCode, text)}, err
}

// cmdEvent sends a CloudEvent to an app by the client of CloudEvents' own SDK. Any status is a success; an event that is answered is printed.
func cmdEvent(w *world, ts *testscript.TestScript, args []string) (output, error) {
	fs := flag.NewFlagSet("event", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	host, mode, path := fs.String("host", "", "name of the app"), fs.String("mode", "binary", "content mode"), fs.String("path", "/", "of the URL")
	ts.Check(fs.Parse(args))
	if fs.NArg() != 2 || w.http == "" {
		ts.Fatalf("usage, with a server running: event -host APP [-mode binary|structured] [-path PATH] ID DATA")
	}
	e := cloudevents.NewEvent()
	e.SetID(fs.Arg(0))
	e.SetSource("/test")
	e.SetType("com.example.sent")
	ts.Check(e.SetData(cloudevents.ApplicationJSON, map[string]string{"text": fs.Arg(1)}))
	protocol, err := cloudevents.NewHTTP(cehttp.WithClient(*newClient(w.http, false)), cehttp.WithTarget("http://"+*host+"."+w.domain+*path))
	ts.Check(err)
	client, err := cloudevents.NewClient(protocol)
	ts.Check(err)
	with := cloudevents.WithEncodingBinary
	if *mode == "structured" {
		with = cloudevents.WithEncodingStructured
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	reply, result := client.Request(with(ctx), e)
	var status *cehttp.Result
	if !cloudevents.ResultAs(result, &status) {
		return output{stderr: fmt.Sprintln(result)}, fmt.Errorf("no answer")
	}
	text := fmt.Sprintf("HTTP %d\n", status.StatusCode)
	if reply != nil {
		text += reply.String() + "\n"
	}
	return output{stdout: text}, nil
}
