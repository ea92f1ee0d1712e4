package dataplane

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// refuse answers with one sentence in plain text; a client of gRPC gets it as the status of its call.
func refuse(w http.ResponseWriter, q *http.Request, status int, sentence string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if isGRPC(q) {
		h.Set("Content-Type", "application/grpc")
		h.Set("Grpc-Status", strconv.Itoa(grpcStatus(status)))
		h.Set("Grpc-Message", grpcMessage(sentence))
		w.WriteHeader(http.StatusOK)
		return
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(sentence + "\n"))
}

// isGRPC says whether a request is a call of gRPC.
func isGRPC(q *http.Request) bool {
	return q.ProtoMajor == 2 && strings.HasPrefix(q.Header.Get("Content-Type"), "application/grpc")
}

// grpcStatus is the status of gRPC that stands for one of HTTP, as gRPC's own table has it; only that a deadline here is one there.
func grpcStatus(status int) int {
	switch status {
	case http.StatusNotFound:
		return 12 // UNIMPLEMENTED
	case http.StatusGatewayTimeout:
		return 4 // DEADLINE_EXCEEDED
	}
	return 14 // UNAVAILABLE
}

// statusOf is the status of an answer for the counters: a call of gRPC that fails at once has 200, and the failure of the app in a header.
func statusOf(r *http.Response) int {
	if code := r.Header["Grpc-Status"]; r.StatusCode == http.StatusOK && len(code) > 0 {
		switch code[0] {
		case "2", "13", "14", "15": // UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS
			return http.StatusInternalServerError
		}
	}
	return r.StatusCode
}

// grpcMessage is text as the header grpc-message carries it.
func grpcMessage(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// grpcTimeout is how long a client of gRPC waits; 0 where it does not say. Servers end their side at that time too, without an answer.
func grpcTimeout(q *http.Request) time.Duration {
	v := q.Header.Get("Grpc-Timeout")
	if len(v) < 2 || len(v) > 9 || !isGRPC(q) {
		return 0
	}
	n, err := strconv.ParseUint(v[:len(v)-1], 10, 32)
	if err != nil {
		return 0
	}
	unit := map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond}[v[len(v)-1]]
	if d := time.Duration(n); unit == 0 || d <= 1<<62/unit {
		return d * unit
	}
	return 0
}
