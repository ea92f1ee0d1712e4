package lambda

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// event hands a CloudEvent over as its JSON. An answer that is a CloudEvent is the reply; one that is none is shown to people, but not to a
// broker, for which only a CloudEvent or nothing is an answer.
func (f *front) event(w http.ResponseWriter, r *http.Request, body []byte) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		answer(w, http.StatusMethodNotAllowed, message{"events come by POST", "InvalidEvent"})
		return
	}
	payload, status, err := readEvent(r.Header, body)
	if err != nil {
		answer(w, status, message{err.Error(), "InvalidEvent"})
		return
	}
	res, ok := f.invoke(w, r, payload, "")
	switch {
	case !ok:
		return
	case res.errorType != "":
		f.failure(w, res)
		return
	case res.stream != nil:
		w.Header().Set("Content-Type", res.contentType)
		f.write(w, res, nil)
		return
	}
	text := bytes.TrimSpace(res.body)
	switch {
	case checkEvent(text) == nil:
		w.Header().Set("Content-Type", "application/cloudevents+json; charset=utf-8")
		_, _ = w.Write(text) // the client has gone
	case len(text) == 0 || string(text) == "null" || string(text) == `""`:
		w.WriteHeader(http.StatusNoContent)
	case strings.Contains(strings.ToLower(r.Header.Get("Prefer")), "reply"):
		f.config.Log("the function's answer is dropped: it is no CloudEvent: %v", checkEvent(text))
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
	}
}

// isEvent tells whether a request says that it is a CloudEvent.
func isEvent(h http.Header) bool {
	return h.Get("Ce-Specversion") != "" || strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "application/cloudevents")
}

// readEvent reads a CloudEvent of either content mode and returns it as JSON, or says with which status it is refused.
func readEvent(h http.Header, body []byte) ([]byte, int, error) {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		kind = strings.ToLower(h.Get("Content-Type"))
	}
	switch {
	case strings.HasPrefix(kind, "application/cloudevents-batch"):
		return nil, http.StatusUnsupportedMediaType, errors.New("a batch of events is not taken: send the events one by one")
	case kind == "application/cloudevents+json":
		text, err := rebuilt(body)
		if err != nil {
			return nil, http.StatusBadRequest, fmt.Errorf("this is no CloudEvent: %w", err)
		}
		return text, 0, nil
	case strings.HasPrefix(kind, "application/cloudevents"):
		return nil, http.StatusUnsupportedMediaType, fmt.Errorf("events in the format %.60q are not taken: send application/cloudevents+json", kind)
	case h.Get("Ce-Specversion") == "":
		return nil, http.StatusBadRequest, errors.New("this is no CloudEvent: its Content-Type is not application/cloudevents+json, and there is no header ce-specversion")
	}
	e := map[string]any{}
	for name, values := range h {
		if attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-"); ok && isName(attribute) && attribute != "data" && len(values) > 0 {
			value, err := url.PathUnescape(values[0])
			if err != nil {
				value = values[0]
			}
			e[attribute] = value
		}
	}
	if t := h.Get("Content-Type"); t != "" {
		e["datacontenttype"] = t
	}
	switch {
	case len(body) == 0:
	case (kind == "application/json" || strings.HasSuffix(kind, "+json") || kind == "") && json.Valid(body):
		e["data"] = json.RawMessage(body)
	case utf8.Valid(body):
		e["data"] = string(body)
	default:
		e["data_base64"] = base64.StdEncoding.EncodeToString(body)
	}
	text, err := json.Marshal(e)
	if err == nil {
		err = checkEvent(text)
	}
	if err != nil {
		return nil, http.StatusBadRequest, fmt.Errorf("this is no CloudEvent: %w", err)
	}
	return text, 0, nil
}

// rebuilt is the JSON of an event with its attributes and its data, and nothing else that a body has: what a client adds beside them must not be taken
// for a field of another event, such as the requestContext of API Gateway. Attributes have values without fields, so those cannot be either.
func rebuilt(body []byte) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return nil, errors.New("it is not a JSON object with the attributes of an event")
	}
	for name, value := range members {
		switch {
		case name == "data" || name == "data_base64":
		case string(value) == "null": // as if it were not there
			delete(members, name)
		case !isName(name):
			return nil, fmt.Errorf("%.60q is not the name of an attribute, which is of a-z and 0-9", name)
		case value[0] == '{' || value[0] == '[':
			return nil, fmt.Errorf("the attribute %.60q is not a text, a boolean or an integer", name)
		}
	}
	text, err := json.Marshal(members)
	if err == nil {
		err = checkEvent(text)
	}
	return text, err
}

// isName tells whether attributes of events may have a name.
func isName(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// checkEvent says what is wrong with the JSON of a CloudEvent; nil for nothing.
func checkEvent(text []byte) error {
	var e struct {
		Spec   *string `json:"specversion"`
		ID     *string `json:"id"`
		Source *string `json:"source"`
		Type   *string `json:"type"`
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return errors.New("it is not a JSON object with the attributes of an event")
	}
	for _, a := range []struct {
		name  string
		value *string
	}{{"specversion", e.Spec}, {"id", e.ID}, {"source", e.Source}, {"type", e.Type}} {
		if a.value == nil || *a.value == "" {
			return fmt.Errorf("%s is missing", a.name)
		}
	}
	if *e.Spec != "1.0" && *e.Spec != "0.3" {
		return fmt.Errorf("specversion is %.20q, not 1.0", *e.Spec)
	}
	return nil
}
