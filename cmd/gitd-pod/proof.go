package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/deploy/knative/stream"
)

// proof answers those who issue certificates with text, "TOKEN.…", at the path of its token, and everything else with 404.
func proof(text string) int { return each(func(c net.Conn) { answerProof(c, text) }) }

// answerProof answers one request.
func answerProof(c net.Conn, text string) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(pageTime))
	in := bufio.NewReader(io.LimitReader(c, pageHeaders))
	first := ""
	for n := 0; ; n++ {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			break
		}
		if n == 0 {
			first = line
		}
	}
	token, _, _ := strings.Cut(text, ".")
	status, body := "404 Not Found", "nothing is proven here\n"
	if strings.HasPrefix(first, "GET "+stream.ProofPath+token+" ") {
		status, body = "200 OK", text
	}
	fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
}
