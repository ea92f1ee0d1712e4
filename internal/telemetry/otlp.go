package telemetry

import (
	"encoding/binary"
	"math"
)

// The fields of opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest and what it is made of.
const (
	requestResourceSpans                      = 1
	spansResource, spansOfScopes, spansSchema = 1, 2, 3
	resourceAttributes                        = 1
	scopeScope, scopeSpans                    = 1, 2
	scopeName, scopeVersion                   = 1, 2
	spanTrace, spanID, spanState, spanParent  = 1, 2, 3, 4
	spanName, spanKind, spanStart, spanEnd    = 5, 6, 7, 8
	spanAttributes, spanStatus, spanFlags     = 9, 15, 16
	statusMessage, statusCode                 = 2, 3
	keyOfPair, valueOfPair                    = 1, 2
	anyString, anyBool, anyInt, anyDouble     = 1, 2, 3, 4
	statusOK, statusError                     = 1, 2
)

// schemaURL says which version of the semantic conventions the names of attributes are of.
const schemaURL = "https://opentelemetry.io/schemas/1.37.0"

// appendSpans makes a request of spans. resource are the attributes of this process.
func appendSpans(b []byte, resource []Attribute, version string, spans []*Span) []byte {
	var r []byte
	for _, a := range resource {
		r = appendBytes(r, resourceAttributes, appendAttribute(nil, a))
	}
	scope := appendText(appendText(nil, scopeName, "github.com/gitd-io/gitd"), scopeVersion, version)
	of := appendBytes(nil, scopeScope, scope)
	for _, s := range spans {
		of = appendBytes(of, scopeSpans, appendSpan(nil, s))
	}
	all := appendBytes(nil, spansResource, r)
	all = appendBytes(all, spansOfScopes, of)
	all = appendText(all, spansSchema, schemaURL)
	return appendBytes(b, requestResourceSpans, all)
}

func appendSpan(b []byte, s *Span) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	b = appendBytes(b, spanTrace, s.trace[:])
	b = appendBytes(b, spanID, s.id[:])
	b = appendText(b, spanState, s.state)
	flags := uint32(sampled)
	if s.parent != (SpanID{}) {
		b = appendBytes(b, spanParent, s.parent[:])
		flags |= 1 << 8 // it is known whether the parent is of another process
		if s.kind == KindServer {
			flags |= 1 << 9 // and it is
		}
	}
	b = appendText(b, spanName, s.name)
	b = appendUint(b, spanKind, uint64(s.kind))
	b = appendFixed64(b, spanStart, uint64(s.began.UnixNano()))
	b = appendFixed64(b, spanEnd, uint64(s.ended.UnixNano()))
	for _, a := range s.attributes {
		b = appendBytes(b, spanAttributes, appendAttribute(nil, a))
	}
	if s.failed {
		b = appendBytes(b, spanStatus, appendUint(appendText(nil, statusMessage, s.message), statusCode, statusError))
	}
	return appendFixed32(b, spanFlags, flags)
}

func appendAttribute(b []byte, a Attribute) []byte {
	b = appendText(b, keyOfPair, a.Key)
	var v []byte
	switch x := a.Value.(type) {
	case string:
		v = appendBytes(v, anyString, x)
	case bool:
		n := uint64(0)
		if x {
			n = 1
		}
		v = binary.AppendUvarint(tag(v, anyBool, 0), n)
	case int:
		v = binary.AppendUvarint(tag(v, anyInt, 0), uint64(x))
	case int64:
		v = binary.AppendUvarint(tag(v, anyInt, 0), uint64(x))
	case float64:
		if math.IsNaN(x) {
			x = 0
		}
		v = appendDouble(v, anyDouble, x)
	}
	return appendBytes(b, valueOfPair, v)
}
