// Program nats measures a NATS server with JetStream that syncs each message, as gitd's broker syncs each event: how many messages a second it accepts, and how
// many it delivers. It is a module of its own, so that the server is in nothing else. It prints JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Figures are what is printed.
type Figures struct {
	PerSecond float64 `json:"perSecond"` // messages accepted
	P50, P99  float64 // seconds until one is accepted
	Delivered float64 `json:"delivered"` // messages a second
}

func main() {
	dir, clients, messages, size := os.Args[1], 64, 20000, 1024
	if len(os.Args) > 2 {
		if _, err := fmt.Sscan(os.Args[2], &messages); err != nil {
			log.Fatal(err)
		}
	}
	f, err := measure(dir, clients, messages, size)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		log.Fatal(err)
	}
}

func measure(dir string, clients, messages, size int) (f Figures, err error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, SyncAlways: true, NoLog: true, NoSigs: true})
	if err != nil {
		return f, err
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		return f, fmt.Errorf("the server does not start")
	}
	ctx := context.Background()
	c, err := nats.Connect(s.ClientURL())
	if err != nil {
		return f, err
	}
	defer c.Close()
	js, err := jetstream.New(c)
	if err != nil {
		return f, err
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events"}, Storage: jetstream.FileStorage})
	if err != nil {
		return f, err
	}
	data := make([]byte, size)
	var next atomic.Int64
	var mu sync.Mutex
	var took []float64
	began := time.Now()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(messages) {
					return
				}
				at := time.Now()
				if _, e := js.Publish(ctx, "events", data, jetstream.WithMsgID(fmt.Sprint(n))); e != nil {
					mu.Lock()
					err = e
					mu.Unlock()
					return
				}
				mu.Lock()
				took = append(took, time.Since(at).Seconds())
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if err != nil {
		return f, err
	}
	f.PerSecond = float64(messages) / time.Since(began).Seconds()
	slices.Sort(took)
	f.P50, f.P99 = took[len(took)/2], took[len(took)*99/100]
	f.Delivered, err = deliver(ctx, stream, messages)
	return f, err
}

// deliver consumes all messages, each acknowledged by itself and for sure.
func deliver(ctx context.Context, stream jetstream.Stream, messages int) (float64, error) {
	c, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "app", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 32})
	if err != nil {
		return 0, err
	}
	done := make(chan struct{})
	var n atomic.Int64
	began := time.Now()
	work := make(chan jetstream.Msg, 32)
	for range 32 {
		go func() {
			for m := range work {
				if m.DoubleAck(ctx) == nil && n.Add(1) == int64(messages) {
					close(done)
				}
			}
		}()
	}
	consuming, err := c.Consume(func(m jetstream.Msg) { work <- m })
	if err != nil {
		return 0, err
	}
	defer consuming.Stop()
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		return 0, fmt.Errorf("%d of %d messages were delivered", n.Load(), messages)
	}
	return float64(messages) / time.Since(began).Seconds(), nil
}
