package main

import (
	"io"
	"net"
	"net/http"
	"testing"
)

func TestProof(t *testing.T) {
	address := answering(t, func(c net.Conn) { answerProof(c, "token.thumb") })
	for path, want := range map[string]string{
		"/.well-known/acme-challenge/token": "200 token.thumb", "/.well-known/acme-challenge/token2": "404 nothing is proven here\n", "/": "404 nothing is proven here\n",
	} {
		res, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if got := res.Status[:4] + string(b); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
