package command

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) functions() *cobra.Command {
	functions := c.declare(operation.Functions.Declaration, "", nil)
	inJSON := asJSON(functions)
	functions.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := operation.Functions.Do(cmd.Context(), c.services, c.caller, operation.OfServer{})
		return show(cmd, *inJSON, list, err, printFunctions)
	}
	functions.AddCommand(c.invoke())
	return functions
}

func printFunctions(out io.Writer, list []operation.Function) error {
	w := table(out, "APP", "CONTRACT", "TARGET", "SIGNATURE", "LANGUAGE", "STATE", "URL")
	for _, f := range list {
		row(w, f.App, f.Contract, f.Target, f.Signature, f.Language, f.State, f.URL)
	}
	return w.Flush()
}

func (c *session) invoke() *cobra.Command {
	in := operation.InvokeOf{Headers: http.Header{}}
	var headers []string
	invoke := c.declare(operation.Invoke.Declaration, "APP [--path P] [--method M] [--header NAME=VALUE] … [--event-type T] [--source S] [--id I] [--timeout D] [--verbose] < DATA", nil)
	invoke.Long = invoke.Short + ".\n\nThe call is a client's: it wakes the function from zero. Without flags, a function of CloudEvents gets an event with the input as its data, a function of AWS Lambda the input as its\n" +
		"event, any other the input by POST. The exit status is 0 where the function answers with 200 to 299, and 9 where it answers with another status or an error."
	inJSON := asJSON(invoke)
	f := invoke.Flags()
	f.StringVar(&in.Path, "path", "", "the path, and the query")
	f.StringVar(&in.Method, "method", "", "the method (default POST)")
	f.StringArrayVar(&headers, "header", nil, "a header NAME=VALUE (repeatable)")
	f.StringVar(&in.Event.Type, "event-type", "", "send a CloudEvent of this type")
	f.StringVar(&in.Event.Source, "source", "", "the event's source")
	f.StringVar(&in.Event.ID, "id", "", "the event's ID")
	f.DurationVar(&in.Timeout, "timeout", 0, "how long it may take, such as 30s (default 5m, at most 1h)")
	verbose := f.Bool("verbose", false, "print status and headers, on standard error")
	invoke.RunE = func(cmd *cobra.Command, args []string) (err error) {
		in.App, in.Out, in.Keep = args[0], cmd.OutOrStdout(), *inJSON
		if err := checkInvoke(&in, headers); err != nil {
			return err
		}
		if err := operation.Invoke.Allow(cmd.Context(), c.services, c.caller, in.App); err != nil { // before the input is read
			return err
		}
		if in.Data, err = readData(c.in); err != nil {
			return err
		}
		if *verbose {
			in.Began = func(a operation.Answer) { printHead(cmd.ErrOrStderr(), a) }
		}
		a, err := operation.Invoke.Do(cmd.Context(), c.services, c.caller, in)
		switch {
		case err != nil:
			return err
		case *inJSON:
			err = printJSON(cmd.OutOrStdout(), a)
		}
		if err == nil && !a.OK() {
			if !*inJSON && !*verbose {
				fmt.Fprintf(cmd.ErrOrStderr(), "gitd: %s answered with %s\n", app.Plain(in.App), status(a))
			}
			return ExitStatus(app.ExitAnswer)
		}
		return err
	}
	return invoke
}

// checkInvoke checks the flags, and reads the headers.
func checkInvoke(in *operation.InvokeOf, headers []string) error {
	if in.Timeout != 0 && (in.Timeout < time.Second || in.Timeout > operation.MaxInvoke) {
		return app.Errorf(app.CodeInvalidInput, "give a time from 1s to 1h", "--timeout %s is out of range", in.Timeout)
	}
	if len(headers) > 50 {
		return app.Errorf(app.CodeInvalidInput, "leave some out", "there are more than 50 headers")
	}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || app.Plain(value) != value || len(h) > 8<<10 {
			return app.Errorf(app.CodeInvalidInput, "write it as in --header Accept=text/plain", "%q is not a header", app.Clip(app.Plain(h), 60))
		}
		in.Headers.Add(name, value)
	}
	for flag, value := range map[string]string{"--event-type": in.Event.Type, "--source": in.Event.Source, "--id": in.Event.ID, "--path": in.Path, "--method": in.Method} {
		if len(value) > 2<<10 || app.Plain(value) != value {
			return app.Errorf(app.CodeInvalidInput, "give a shorter one, that can be printed", "%s cannot be sent", flag)
		}
	}
	return nil
}

// readData reads what a call sends.
func readData(in io.Reader) ([]byte, error) {
	if in == nil {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(in, operation.MaxData+1))
	switch {
	case err != nil:
		return nil, app.Wrap(err, app.CodeInvalidInput, "give it on standard input", "the data cannot be read")
	case len(data) > operation.MaxData:
		return nil, app.Errorf(app.CodeLimitExceeded, "send less", "the data has more than %s", app.Size(operation.MaxData))
	}
	return data, nil
}

// status is how an answer ended, for people.
func status(a operation.Answer) string {
	if a.FunctionError != "" {
		return "an error of the function (" + app.Plain(a.FunctionError) + ")"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status)))
}

// printHead prints the status and the headers of an answer.
func printHead(out io.Writer, a operation.Answer) {
	fmt.Fprintf(out, "%d %s\n", a.Status, http.StatusText(a.Status))
	for _, h := range a.Headers {
		fmt.Fprintf(out, "%s: %s\n", app.Plain(h.Name), app.Plain(h.Value))
	}
	fmt.Fprintln(out)
}
