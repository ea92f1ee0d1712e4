package lambda

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// request is an event of API Gateway's HTTP API, payload format 2.0.
type request struct {
	Version     string            `json:"version"`
	RouteKey    string            `json:"routeKey"`
	Path        string            `json:"rawPath"`
	RawQuery    string            `json:"rawQueryString"`
	Cookies     []string          `json:"cookies,omitempty"`
	Headers     map[string]string `json:"headers"`
	Query       map[string]string `json:"queryStringParameters,omitempty"`
	Context     requestContext    `json:"requestContext"`
	Body        *string           `json:"body,omitempty"`
	Base64      bool              `json:"isBase64Encoded"`
	PathValues  map[string]string `json:"pathParameters,omitempty"`
	StageValues map[string]string `json:"stageVariables,omitempty"`
}

type requestContext struct {
	Account      string      `json:"accountId"`
	API          string      `json:"apiId"`
	Domain       string      `json:"domainName"`
	DomainPrefix string      `json:"domainPrefix"`
	HTTP         requestHTTP `json:"http"`
	ID           string      `json:"requestId"`
	RouteKey     string      `json:"routeKey"`
	Stage        string      `json:"stage"`
	Time         string      `json:"time"`
	Epoch        int64       `json:"timeEpoch"`
}

type requestHTTP struct {
	Method   string `json:"method"`
	Path     string `json:"path"`
	Protocol string `json:"protocol"`
	Source   string `json:"sourceIp"`
	Agent    string `json:"userAgent"`
}

// gateway hands a request over as API Gateway does, and answers what the function says.
func (f *front) gateway(w http.ResponseWriter, r *http.Request, body []byte) {
	payload, err := json.Marshal(newRequest(r, body, time.Now()))
	if err != nil {
		answer(w, http.StatusInternalServerError, message{"Internal Server Error", ""})
		return
	}
	if len(payload) > maxRequest {
		answer(w, http.StatusRequestEntityTooLarge, message{"the request is longer than 6 MiB as an event, which a function takes at most", "RequestTooLarge"})
		return
	}
	res, ok := f.invoke(w, r, payload, "")
	switch {
	case !ok:
	case res.errorType != "":
		f.failure(w, res)
	case res.stream != nil:
		f.streamed(w, res)
	default:
		if err := respond(w, res.body); err != nil {
			f.config.Log("the function's answer is no response: %v", err)
			answer(w, http.StatusBadGateway, message{"Internal Server Error", "InvalidResponse"})
		}
	}
}

func newRequest(r *http.Request, body []byte, now time.Time) request {
	host, prefix := r.Host, ""
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	prefix, _, _ = strings.Cut(host, ".")
	e := request{
		Version: "2.0", RouteKey: "$default", Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Headers: map[string]string{"host": r.Host},
		Context: requestContext{
			Account: "000000000000", API: prefix, Domain: host, DomainPrefix: prefix, ID: newID(), RouteKey: "$default", Stage: "$default",
			Time: now.UTC().Format("02/Jan/2006:15:04:05 -0700"), Epoch: now.UnixMilli(),
			HTTP: requestHTTP{Method: r.Method, Path: r.URL.Path, Protocol: r.Proto, Source: source(r), Agent: r.UserAgent()},
		},
	}
	for name, values := range r.Header {
		if name == "Cookie" {
			for _, v := range values {
				for c := range strings.SplitSeq(v, ";") {
					if c = strings.TrimSpace(c); c != "" {
						e.Cookies = append(e.Cookies, c)
					}
				}
			}
			continue
		}
		e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	query, _ := url.ParseQuery(r.URL.RawQuery) // of a malformed one what can be read
	for name, values := range query {
		if e.Query == nil {
			e.Query = map[string]string{}
		}
		e.Query[name] = strings.Join(values, ",")
	}
	if len(body) > 0 {
		text := string(body)
		if e.Base64 = !isText(r.Header, body); e.Base64 {
			text = base64.StdEncoding.EncodeToString(body)
		}
		e.Body = &text
	}
	return e
}

// source is the address of the client, as the proxy in front of this instance tells it: the last entry of X-Forwarded-For. A proxy that appends has got
// all before that from its client, who may write there what a function takes for the address that it allows.
func source(r *http.Request) string {
	if list := r.Header.Values("X-Forwarded-For"); len(list) > 0 {
		last := list[len(list)-1]
		if last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:]); last != "" {
			return last
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// isText tells whether a body is handed over as it is, by the rules of API Gateway: by its type.
func isText(h http.Header, body []byte) bool {
	if h.Get("Content-Encoding") != "" || !utf8.Valid(body) {
		return false
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml") ||
		slices.Contains([]string{"application/json", "application/xml", "application/javascript"}, kind)
}

// response is what a function answers to such an event.
type response struct {
	Status  json.RawMessage            `json:"statusCode"`
	Headers map[string]json.RawMessage `json:"headers"`
	Multi   map[string][]string        `json:"multiValueHeaders"` // of payload format 1.0
	Cookies []string                   `json:"cookies"`
	Body    json.RawMessage            `json:"body"`
	Base64  bool                       `json:"isBase64Encoded"`
}

// respond answers what a function says. The error tells what is wrong with it; nothing is written then.
func respond(w http.ResponseWriter, text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if !json.Valid(text) {
		return errors.New("it is not JSON")
	}
	var raw map[string]json.RawMessage
	_ = json.Unmarshal(text, &raw) // what is no object has no status
	if raw["statusCode"] == nil {
		w.Header().Set("Content-Type", "application/json")
		var s string
		if json.Unmarshal(text, &s) == nil { // a string is the body, as it is
			text = []byte(s)
		}
		_, _ = w.Write(text)
		return nil
	}
	var res response
	if err := json.Unmarshal(text, &res); err != nil {
		return err
	}
	status, err := statusOf(res.Status)
	if err != nil {
		return err
	}
	body, err := bodyOf(res)
	if err != nil {
		return err
	}
	if err := setHeaders(w.Header(), res); err != nil {
		return err
	}
	if w.Header().Get("Content-Type") == "" && len(body) > 0 {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone
	return nil
}

func statusOf(raw json.RawMessage) (int, error) {
	n, err := strconv.Atoi(strings.Trim(string(raw), `"`))
	if err != nil || n < 200 || n > 599 {
		return 0, fmt.Errorf("statusCode is %.40s, not a number from 200 to 599", raw)
	}
	return n, nil
}

func bodyOf(res response) ([]byte, error) {
	if len(res.Body) == 0 || string(res.Body) == "null" {
		return nil, nil
	}
	var s string
	if err := json.Unmarshal(res.Body, &s); err != nil {
		return nil, errors.New("body is not a string")
	}
	if !res.Base64 {
		return []byte(s), nil
	}
	body, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, errors.New("isBase64Encoded is true, and body is not base64")
	}
	return body, nil
}

// hop are headers of a connection, which are not the function's to say.
var hop = []string{"Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

func setHeaders(h http.Header, res response) error {
	add := func(name, value string) error {
		if strings.ContainsAny(name, " \r\n:") || name == "" || strings.ContainsAny(value, "\r\n\x00") {
			return fmt.Errorf("the header %.60q cannot be sent", name)
		}
		if !slices.Contains(hop, http.CanonicalHeaderKey(name)) {
			h.Add(name, value)
		}
		return nil
	}
	for name, raw := range res.Headers {
		value := string(raw)
		var s string
		if json.Unmarshal(raw, &s) == nil {
			value = s
		} else if value == "" || value[0] == '{' || value[0] == '[' {
			return fmt.Errorf("the header %.60q is not a string", name)
		}
		if err := add(name, value); err != nil {
			return err
		}
	}
	for name, values := range res.Multi {
		h.Del(name)
		for _, v := range values {
			if err := add(name, v); err != nil {
				return err
			}
		}
	}
	for _, c := range res.Cookies {
		if err := add("Set-Cookie", c); err != nil {
			return err
		}
	}
	return nil
}

// integration is the type of a stream that begins with status and headers, as JSON, and eight zero bytes.
const integration = "application/vnd.awslambda.http-integration-response"

// streamed answers with what the function streams.
func (f *front) streamed(w http.ResponseWriter, res result) {
	if res.contentType != integration {
		if res.contentType != "" {
			w.Header().Set("Content-Type", res.contentType)
		}
		f.write(w, res, nil)
		return
	}
	stream := bufio.NewReader(res.stream)
	res.stream = stream
	head, err := prelude(stream)
	status := http.StatusOK
	var r response
	if err == nil {
		err = json.Unmarshal(head, &r)
	}
	if err == nil && len(r.Status) > 0 {
		status, err = statusOf(r.Status)
	}
	if err == nil {
		err = setHeaders(w.Header(), r)
	}
	if err != nil {
		drain(res)
		if !time.Now().Before(res.until) {
			f.failure(w, result{errorType: errTimeout})
			return
		}
		f.config.Log("the function's answer is no response: %v", err)
		answer(w, http.StatusBadGateway, message{"Internal Server Error", "InvalidResponse"})
		return
	}
	w.WriteHeader(status)
	f.write(w, res, nil)
}

// prelude reads what is before the zero bytes.
func prelude(r *bufio.Reader) ([]byte, error) {
	var head []byte
	zeros := 0
	for zeros < 8 {
		c, err := r.ReadByte()
		if err == io.EOF {
			return nil, errors.New("the stream ended before its body")
		}
		if err != nil {
			return nil, err
		}
		if c == 0 {
			zeros++
			continue
		}
		if zeros > 0 || len(head) >= 64<<10 {
			return nil, errors.New("the stream does not begin with a JSON document of at most 64 KiB and eight zero bytes")
		}
		head = append(head, c)
	}
	return head, nil
}
