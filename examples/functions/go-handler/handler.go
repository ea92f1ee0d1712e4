// Package hello is a function by its file's name, handler.go: no server, no go.mod.
package hello

import (
	"fmt"
	"net/http"
)

// Handler answers a request.
func Handler(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	switch name {
	case "":
		name = "world"
	case "nobody":
		http.Error(w, "there is no such name", http.StatusNotFound)
		return
	case "panic":
		panic("asked to")
	}
	fmt.Fprintf(w, "Hello, %s!\n", name)
}
