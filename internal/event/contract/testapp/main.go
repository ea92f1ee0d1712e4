// Program testapp serves the receiver of the contract suite on $PORT.
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/gitd-io/gitd/internal/event/contract/receiver"
)

func main() {
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), &receiver.Receiver{}))
}
