package event

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// The content types of the structured mode. Batches are refused.
const (
	StructuredType = "application/cloudevents+json"
	batchType      = "application/cloudevents-batch+json"
)

// Parse reads an event in the JSON format of CloudEvents, and checks it.
func Parse(text []byte) (Event, error) {
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
	if len(text) == 0 {
		return Event{}, notEvent("there is nothing")
	}
	if text[0] == '[' {
		return Event{}, app.Errorf(app.CodeInvalidInput, "send each event by itself", "a batch of events is not taken")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return Event{}, notEvent("it is not a JSON object: %s", app.Line(strings.TrimPrefix(err.Error(), "json: "), 200))
	}
	e := Event{}
	var data, base json.RawMessage
	if _, ok := members["specversion"]; !ok {
		return e, notEvent("the attribute specversion is missing")
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		raw := members[name]
		switch {
		case name == "data":
			data = raw
		case name == "data_base64":
			base = raw
		case string(raw) == "null": // as if it were not there
		default:
			v, err := attribute(name, raw)
			if err == nil {
				err = e.Set(name, v)
			}
			if err != nil {
				return e, notEvent("%v", err)
			}
		}
	}
	if err := e.setData(data, base); err != nil {
		return e, err
	}
	return e, e.Check()
}

// attribute reads the value of an attribute: a text, or of an extension a boolean or an integer as well.
func attribute(name string, raw json.RawMessage) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		if v == "" {
			return "", fmt.Errorf("the attribute %s is empty", name)
		}
		return v, nil
	case bool:
		if slices.Contains(coreNames, name) {
			break
		}
		return strconv.FormatBool(v), nil
	case json.Number:
		_, err := strconv.ParseInt(v.String(), 10, 32)
		if err == nil && (name == "specversion" || !slices.Contains(coreNames, name)) { // of specversion its own check says which there are
			return v.String(), nil
		}
	}
	if slices.Contains(coreNames, name) {
		return "", fmt.Errorf("the attribute %s is not a text", name)
	}
	return "", fmt.Errorf("the attribute %s is not a text, a boolean or an integer", name)
}

// setData sets the data from the members data and data_base64, of which one may be there.
func (e *Event) setData(data, base json.RawMessage) error {
	switch {
	case base != nil && data != nil:
		return notEvent("it has both data and data_base64")
	case base != nil:
		var text string
		if err := json.Unmarshal(base, &text); err != nil {
			return notEvent("data_base64 is not a text")
		}
		var err error
		if e.Data, err = base64.StdEncoding.DecodeString(text); err != nil {
			return notEvent("data_base64 is not in base64")
		}
	case data != nil && string(data) != "null":
		var text string
		if !isJSON(e.ContentType) && json.Unmarshal(data, &text) == nil {
			e.Data = []byte(text)
			return nil
		}
		if e.ContentType == "" {
			e.ContentType = "application/json"
		}
		var b bytes.Buffer
		if err := json.Compact(&b, data); err != nil {
			return notEvent("its data is not JSON")
		}
		e.Data = b.Bytes()
	}
	return nil
}

// MarshalJSON writes the event in the JSON format of CloudEvents.
func (e Event) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	text := func(s string) {
		v, _ := json.Marshal(s) // a text always can be
		b.Write(v)
	}
	for i, name := range e.Attributes() {
		b.WriteByte("{,"[min(i, 1)])
		text(name)
		b.WriteByte(':')
		v, _ := e.Attribute(name)
		text(v)
	}
	if len(e.Data) > 0 {
		if isJSON(e.ContentType) && json.Valid(e.Data) {
			b.WriteString(`,"data":`)
			b.Write(e.Data)
		} else if printable(e.Data) && !isJSON(e.ContentType) {
			b.WriteString(`,"data":`)
			text(string(e.Data))
		} else {
			b.WriteString(`,"data_base64":`)
			text(base64.StdEncoding.EncodeToString(e.Data))
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// printable says whether data is a text, so that it can be written as one.
func printable(data []byte) bool {
	v, err := json.Marshal(string(data))
	if err != nil {
		return false
	}
	var back string
	return json.Unmarshal(v, &back) == nil && back == string(data)
}
