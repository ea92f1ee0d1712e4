package telemetry

import (
	"compress/gzip"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	textType  = "text/plain; version=0.0.4; charset=utf-8"
	protoType = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

// Bounds of a scrape.
const (
	scrapeTime    = 10 * time.Second
	scrapesAtOnce = 4
	headerBytes   = 16 << 10
)

// Handler answers GET /metrics in Prometheus' text format, or in protocol buffers where that is asked for first.
func (m *Metrics) Handler() http.Handler {
	places := make(chan struct{}, scrapesAtOnce)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			http.Error(w, "too many scrapes at once", http.StatusServiceUnavailable)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), scrapeTime)
		defer cancel()
		one, kind := appendTextFormat, textType
		if wantsProtobuf(r.Header.Get("Accept")) {
			one, kind = appendProtobuf, protoType
		}
		var b []byte
		for _, c := range m.collect(ctx) {
			b = one(b, c)
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Add("Vary", "Accept, Accept-Encoding")
		if !acceptsGzip(r.Header.Get("Accept-Encoding")) {
			_, _ = w.Write(b)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		_, _ = z.Write(b)
		_ = z.Close()
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<title>gitd</title><a href=\"/metrics\">metrics</a>\n"))
	})
	return mux
}

// acceptsGzip says whether an Accept-Encoding header names gzip.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, q, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			return strings.ReplaceAll(q, " ", "") != "q=0"
		}
	}
	return false
}

// wantsProtobuf says whether the first format of an Accept header that there is here is protocol buffers: scrapers name what they want in that order.
func wantsProtobuf(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		name, parameters, _ := strings.Cut(part, ";")
		switch strings.TrimSpace(name) {
		case "application/vnd.google.protobuf":
			parameters = strings.ReplaceAll(parameters, " ", "")
			return strings.Contains(parameters, "proto=io.prometheus.client.MetricFamily") && strings.Contains(parameters, "encoding=delimited")
		case "text/plain", "text/*", "*/*":
			return false
		}
	}
	return false
}

// NewServer returns the server of the endpoint.
func (m *Metrics) NewServer() *http.Server {
	return &http.Server{Handler: m.Handler(), ReadTimeout: scrapeTime, WriteTimeout: 3 * scrapeTime, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: headerBytes}
}

// ErrPublic is why an address is refused that others than this machine reach.
var ErrPublic = errors.New("others than this machine can reach it")

// CheckAddress returns ErrPublic unless an address to listen on is one of this machine's own.
func CheckAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return ErrPublic
}
