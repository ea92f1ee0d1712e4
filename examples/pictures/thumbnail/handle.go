// Package function is a function of Knative: it answers a picture with a smaller one.
package function

import (
	"bytes"
	"fmt"
	"image"
	"image/png"

	"github.com/cloudevents/sdk-go/v2/event"
)

// side is that of a thumbnail, in pixels.
const side = 32

type picture struct {
	Name    string `json:"name"`
	Picture []byte `json:"picture"` // PNG
}

// Handle answers picture.received with picture.resized. What is no PNG is an error: the event goes to what takes dead letters.
func Handle(e event.Event) (*event.Event, error) {
	var p picture
	if err := e.DataAs(&p); err != nil {
		return nil, err
	}
	if c, err := png.DecodeConfig(bytes.NewReader(p.Picture)); err != nil || c.Width > 4096 || c.Height > 4096 {
		return nil, fmt.Errorf("%s is not a PNG of at most 4096 by 4096: %v", p.Name, err)
	}
	from, err := png.Decode(bytes.NewReader(p.Picture))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	to, size := image.NewRGBA(image.Rect(0, 0, side, side)), from.Bounds()
	for y := range side {
		for x := range side {
			to.Set(x, y, from.At(size.Min.X+x*size.Dx()/side, size.Min.Y+y*size.Dy()/side))
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, to); err != nil {
		return nil, err
	}
	reply := event.New()
	reply.SetID(e.ID())
	reply.SetSource("/thumbnail")
	reply.SetType("picture.resized")
	reply.SetSubject(p.Name)
	return &reply, reply.SetData("application/json", picture{p.Name, out.Bytes()})
}
