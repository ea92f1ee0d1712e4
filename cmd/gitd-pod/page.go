package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// Bounds of a request to the page.
const (
	pageHeaders = 64 << 10
	pageTime    = 10 * time.Second
	pageDrain   = 256 << 10 // of a body, so that its sender reads the answer
)

// page answers every request with 503 while an app is maintained, or stopped. It is all that its container does: HTTP/1, without the weight of a whole server.
func page(stopped bool) int {
	return each(func(c net.Conn) { answerPage(c, os.Getenv("K_SERVICE"), stopped) })
}

// each answers each connection to $PORT.
func each(answer func(net.Conn)) int {
	l, err := net.Listen("tcp", ":"+os.Getenv("PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "gitd-pod:", err)
		return 1
	}
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "gitd-pod:", err)
			return 1
		}
		go answer(c)
	}
}

// answerPage answers one request. The app's name has nothing that HTML could take for its own.
func answerPage(c net.Conn, name string, stopped bool) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(pageTime))
	in := bufio.NewReader(io.LimitReader(c, pageHeaders))
	html, head := false, false
	for first := true; ; first = false {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if first {
			head = strings.HasPrefix(line, "HEAD ")
		}
		key, value, _ := strings.Cut(line, ":")
		html = html || strings.EqualFold(key, "accept") && strings.Contains(value, "text/html")
	}
	kind, body := pageText(name, html)
	retry := "Retry-After: " + pageRetry + "\r\n"
	if stopped { // in the words of the platform on one machine
		kind, body, retry = "text/plain", "the app "+name+" is stopped: no request starts it; its owner does: ps start "+name+"\n", ""
	}
	answer := fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %d\r\n%sCache-Control: no-store\r\n"+
		"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n", kind, len(body), retry)
	if !head {
		answer += body
	}
	if _, err := io.WriteString(c, answer); err != nil {
		return
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_, _ = io.CopyN(io.Discard, c, pageDrain)
}

// pageRetry is when a client should come back, in seconds.
const pageRetry = "30"

// pageText is what the page of maintenance says, and its type.
func pageText(name string, html bool) (kind, body string) {
	if html {
		return "text/html", fmt.Sprintf(pageHTML, name)
	}
	return "text/plain", "the app " + name + " is being maintained: try again in a moment\n"
}

const pageHTML = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Maintenance</title>
<body style="font-family: sans-serif; margin: 15vh auto; max-width: 30em; padding: 0 1em"><h1>Back in a moment</h1><p>%s is being maintained. Please try again shortly.</p>
`
