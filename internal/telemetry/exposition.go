package telemetry

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/telemetry/histogram"
)

// appendTextFormat appends a metric in Prometheus' text format 0.0.4.
func appendTextFormat(b []byte, c collected) []byte {
	b = append(b, "# HELP "...)
	b = append(b, c.Name...)
	b = append(b, ' ')
	b = append(b, helpEscapes.Replace(c.Help)...)
	b = append(b, "\n# TYPE "...)
	b = append(b, c.Name...)
	b = append(b, ' ')
	b = append(b, c.Type...)
	b = append(b, '\n')
	for _, s := range c.samples {
		if c.Type != TypeHistogram {
			b = appendLine(b, c.Name, c.Labels, s.Labels, "", s.Value)
			continue
		}
		for _, bound := range c.Bounds {
			b = appendLine(b, c.Name+"_bucket", c.Labels, s.Labels, number(bound), float64(s.Histogram.UpTo(bound)))
		}
		b = appendLine(b, c.Name+"_bucket", c.Labels, s.Labels, "+Inf", float64(s.Histogram.Count))
		b = appendLine(b, c.Name+"_sum", c.Labels, s.Labels, "", s.Histogram.Sum)
		b = appendLine(b, c.Name+"_count", c.Labels, s.Labels, "", float64(s.Histogram.Count))
	}
	return b
}

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// appendLine appends one sample. le is the bound of a histogram's bucket; "" for none.
func appendLine(b []byte, name string, labels, values []string, le string, v float64) []byte {
	b = append(b, name...)
	if len(values) > 0 || le != "" {
		b = append(b, '{')
		for i, l := range labels {
			b = append(b, l...)
			b = append(b, `="`...)
			b = append(b, labelEscapes.Replace(strings.ToValidUTF8(values[i], "?"))...)
			b = append(b, `",`...)
		}
		if le != "" {
			b = append(b, `le="`...)
			b = append(b, le...)
			b = append(b, `",`...)
		}
		b[len(b)-1] = '}'
	}
	b = append(b, ' ')
	b = append(b, number(v)...)
	return append(b, '\n')
}

func number(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsNaN(v):
		return "NaN"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// The fields of io.prometheus.client.MetricFamily and what it is made of.
const (
	familyName, familyHelp, familyType, familyMetric                = 1, 2, 3, 4
	metricLabel, metricGauge, metricCounter, metricHistogram        = 1, 2, 3, 7
	labelName, labelValue                                           = 1, 2
	simpleValue                                                     = 1
	histogramCount, histogramSum, histogramBucket                   = 1, 2, 3
	histogramSchema, histogramZeroThreshold                         = 5, 6
	histogramSpan, histogramDelta                                   = 12, 13
	bucketCount, bucketBound                                        = 1, 2
	spanOffset, spanLength                                          = 1, 2
	protoCounter, protoGauge, protoHistogram                 uint64 = 0, 1, 4
	zeroThreshold                                                   = 2.938735877055719e-39 // what Prometheus' own libraries take
)

// appendProtobuf appends a metric as a MetricFamily with its length before it, which is how a native histogram can be told.
func appendProtobuf(b []byte, c collected) []byte {
	kind := map[Type]uint64{TypeCounter: protoCounter, TypeGauge: protoGauge, TypeHistogram: protoHistogram}[c.Type]
	var f []byte
	f = appendText(f, familyName, c.Name)
	f = appendText(f, familyHelp, c.Help)
	f = binary.AppendUvarint(tag(f, familyType, 0), kind)
	for _, s := range c.samples {
		var m []byte
		for i, l := range c.Labels {
			pair := appendText(appendText(nil, labelName, l), labelValue, strings.ToValidUTF8(s.Labels[i], "?"))
			m = appendBytes(m, metricLabel, pair)
		}
		switch c.Type {
		case TypeHistogram:
			m = appendBytes(m, metricHistogram, nativeHistogram(s.Histogram, c.Bounds))
		case TypeCounter:
			m = appendBytes(m, metricCounter, appendDouble(nil, simpleValue, s.Value))
		default:
			m = appendBytes(m, metricGauge, appendDouble(nil, simpleValue, s.Value))
		}
		f = appendBytes(f, familyMetric, m)
	}
	return append(binary.AppendUvarint(b, uint64(len(f))), f...)
}

// nativeHistogram is a Histogram message with its buckets both ways: those with bounds, and those of the schema.
func nativeHistogram(v histogram.Value, bounds []float64) []byte {
	h := appendUint(nil, histogramCount, uint64(v.Count))
	h = appendDouble(h, histogramSum, v.Sum)
	for _, bound := range bounds {
		bucket := appendDouble(appendUint(nil, bucketCount, uint64(v.UpTo(bound))), bucketBound, bound)
		h = appendBytes(h, histogramBucket, bucket)
	}
	h = appendSint(h, histogramSchema, histogram.Schema)
	h = appendDouble(h, histogramZeroThreshold, zeroThreshold)
	var deltas []int64
	var before int64
	last := -1 // the index of the last bucket with anything in it, after First
	length := uint64(0)
	offset := int64(0)
	span := func() {
		if length > 0 {
			h = appendBytes(h, histogramSpan, appendUint(appendSint(nil, spanOffset, offset), spanLength, length))
		}
	}
	for i, n := range v.Counts {
		if n == 0 {
			continue
		}
		if last < 0 || i != last+1 {
			span()
			length = 0
			if offset = int64(i - last - 1); last < 0 {
				offset = int64(histogram.First + i)
			}
		}
		length++
		deltas = append(deltas, n-before)
		before, last = n, i
	}
	span()
	if last < 0 { // an empty one is told apart from one without native buckets by a span of no length
		h = appendBytes(h, histogramSpan, appendUint(appendSint(nil, spanOffset, 0), spanLength, 0))
	}
	for _, d := range deltas {
		h = appendSint(h, histogramDelta, d)
	}
	return h
}
