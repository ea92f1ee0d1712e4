package knative

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/tools/remotecommand"
	"knative.dev/pkg/ptr"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/knative/stream"
)

// Where the container of an attached run finds gitd-pod, and where the init container puts it.
const (
	podDir     = "/opt/gitd/bin"
	installDir = "/install"
)

const (
	logRoom        = 1 << 30          // bytes that the node's log may grow by before it is rotated
	attachedOutput = time.Minute      // bounds the wait for what an attached command wrote whose container was killed
	hangUp         = 5 * time.Second  // for a connection that is no longer needed to end by itself
	aliveEvery     = 30 * time.Second // so that nothing between gitd and the node takes the connection for an idle one
)

// attachment is the client of a run. Its container runs gitd-pod, which runs the command: see package stream.
type attachment struct {
	p       *Platform
	s       deploy.RunSpec
	command stream.Command
	limit   string                      // of its memory, in words
	end     atomic.Pointer[stream.Exit] // what gitd-pod said; nil before
}

// prepare has a pod run gitd-pod, which an init container brings into it: an image may have no program of any kind that could wait for a client.
func (a *attachment) prepare(ctx context.Context, spec *corev1.PodSpec) error {
	image, err := a.p.podImage(ctx)
	if err != nil {
		return err
	}
	image = a.p.nodeImage(image)
	c := &spec.Containers[0]
	a.limit = memoryOf(c)
	a.command = stream.Command{Args: c.Command, Grace: int(a.s.Grace.Milliseconds())}
	if t := a.s.Terminal; t != nil {
		a.command.Terminal = &stream.Window{Rows: t.Size.Rows, Columns: t.Size.Columns}
		if !hasVariable(a.s.Env, "TERM") {
			a.command.Term = t.Term
		}
	}
	c.Command = []string{podDir + "/" + stream.Program, stream.Run, ""}
	c.Stdin, c.StdinOnce = true, true
	mount := corev1.VolumeMount{Name: "gitd", MountPath: installDir}
	spec.InitContainers = []corev1.Container{{Name: "gitd", Image: image, Args: []string{stream.Install, installDir}, VolumeMounts: []corev1.VolumeMount{mount},
		Resources: c.Resources, // the pod needs no more of anything for it
		SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.Bool(false), RunAsNonRoot: ptr.Bool(true), Capabilities: c.SecurityContext.Capabilities,
			SeccompProfile: c.SecurityContext.SeccompProfile}}}
	mount.MountPath, mount.ReadOnly = podDir, true
	c.VolumeMounts = append(c.VolumeMounts, mount)
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: mount.Name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: resource.NewQuantity(32<<20, resource.BinarySI)}}})
	if limit, ok := c.Resources.Limits[corev1.ResourceEphemeralStorage]; ok { // of which the node's own log of what is on its way to the client takes some
		c.Resources = *c.Resources.DeepCopy()
		limit.Add(*resource.NewQuantity(logRoom, resource.BinarySI))
		c.Resources.Limits[corev1.ResourceEphemeralStorage] = limit
	}
	spec.TerminationGracePeriodSeconds = ptr.Int64(int64(a.s.Grace.Seconds()))
	return nil
}

// publishedFor is how long an image is taken to be in the registry that was put there: another one may lose it.
const publishedFor = time.Hour

// published is the image with gitd-pod.
type published struct {
	mu    sync.Mutex // mu guards the following
	image string
	at    time.Time
}

// podImage is the image with gitd-pod, in the registry.
func (p *Platform) podImage(ctx context.Context) (string, error) {
	if p.o.Pod == nil {
		return "", app.Errorf(app.CodeUnavailable, "update gitd", "this server has no gitd-pod for a cluster")
	}
	p.pod.mu.Lock()
	defer p.pod.mu.Unlock()
	if p.pod.image != "" && time.Since(p.pod.at) < publishedFor {
		return p.pod.image, nil
	}
	image, err := p.o.Pod(ctx)
	if err == nil {
		p.pod.image, p.pod.at = image, time.Now()
	}
	return image, err
}

func hasVariable(env []string, name string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, name+"=") {
			return true
		}
	}
	return false
}

// stream attaches to the pod, has its command run, and returns when that has ended and its client has all of its output.
func (a *attachment) stream(ctx context.Context, pod *corev1.Pod) error {
	attaching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	in, toPod := io.Pipe()
	fromPod, out := io.Pipe()
	attached := make(chan error, 1)
	go func() {
		err := a.p.c.Stream(attaching, pod.Namespace, pod.Name, container, remotecommand.StreamOptions{Stdin: in, Stdout: out, Stderr: io.Discard})
		_ = out.Close()
		_ = in.Close()
		attached <- err
	}()
	c := stream.New(fromPod, toPod)
	err := a.talk(ctx, c)
	if err == nil && stop() {
		go func() { // the connection ends when the pod has ended
			defer cancel()
			_ = c.Send(stream.Bye, nil)
			_ = toPod.Close()
			time.AfterFunc(hangUp, cancel)
			_, _ = io.Copy(io.Discard, fromPod)
			<-attached
		}()
		return nil
	}
	_ = fromPod.Close()
	cancel()
	broke := <-attached
	switch {
	case err == nil:
		return nil
	case broke != nil && ctx.Err() == nil:
		return broke
	case errors.Is(err, io.EOF): // the container has ended
		return nil
	}
	return err
}

// talk starts the command, and passes on what it and its client say until it has ended.
func (a *attachment) talk(ctx context.Context, c *stream.Conn) error {
	if err := c.SendJSON(stream.Start, a.command); err != nil {
		return io.EOF // Stream says why
	}
	go func() {
		if a.s.Stdin == nil || c.Copy(stream.Input, a.s.Stdin) == nil {
			_ = c.Send(stream.InputEnd, nil)
		}
	}()
	over := make(chan struct{})
	defer close(over)
	go a.tell(c, over)
	outputs := a.outputs(c)
	for {
		k, b, err := c.Receive()
		if err != nil {
			return err
		}
		switch k {
		case stream.Stdout, stream.Stderr:
			if !outputs[k].Put(b) {
				return errors.New("its pod sent more output than there was room for")
			}
		case stream.End:
			e := &stream.Exit{}
			if err := json.Unmarshal(b, e); err != nil {
				return fmt.Errorf("how it ended: %w", err)
			}
			e.Code, e.Signal = e.Code&0xff, e.Signal&0x7f // what runs in the container may have written it
			for _, q := range outputs {
				select {
				case <-q.End():
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			a.end.Store(e)
			return nil
		}
	}
}

// outputs are the ways to the client. Where both streams go to one writer, what comes first is written first.
func (a *attachment) outputs(c *stream.Conn) map[stream.Kind]*stream.Queue {
	wrote := func(n int) { _ = c.SendJSON(stream.Room, n) }
	queue := func(k stream.Kind, w io.Writer) *stream.Queue {
		return stream.NewQueue(orDiscard(w), wrote, func(error) { _ = c.SendJSON(stream.Closed, k) })
	}
	out := queue(stream.Stdout, a.s.Stdout)
	errs := out
	if !deploy.OneWriter(a.s.Stdout, a.s.Stderr) {
		errs = queue(stream.Stderr, a.s.Stderr)
	}
	return map[stream.Kind]*stream.Queue{stream.Stdout: out, stream.Stderr: errs}
}

// tell passes on the client's signals and the size of its window.
func (a *attachment) tell(c *stream.Conn, over <-chan struct{}) {
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	var resized <-chan app.WindowSize
	if a.s.Terminal != nil {
		resized = a.s.Terminal.Resized
	}
	signals := a.s.Signals
	for {
		select {
		case <-over:
			return
		case <-alive.C:
			_ = c.Send(stream.Alive, nil)
		case size, ok := <-resized:
			if !ok {
				resized = nil
				continue
			}
			_ = c.SendJSON(stream.Size, stream.Window{Rows: size.Rows, Columns: size.Columns})
		case name, ok := <-signals:
			if !ok {
				signals = nil
				continue
			}
			if n, known := deploy.Signal(name); known {
				_ = c.SendJSON(stream.Signal, int(n))
			}
		}
	}
}

// ended is how the command ended, by gitd-pod; ok is false where it did not say, or does not know.
func (a *attachment) ended() (x deploy.Exit, err error, ok bool) {
	e := a.end.Load()
	switch {
	case e == nil || e.Unsure:
		return x, nil, false
	case e.Error != "":
		return x, runtimeError("the command does not start: %s", app.Plain(app.Clip(oneLine(e.Error), 300))), true
	}
	x.Code = e.Code
	if e.Signal != 0 {
		x.Signal = syscall.Signal(e.Signal).String()
	}
	if e.OutOfMemory {
		x.OutOfMemory, x.Memory = true, a.limit
	}
	return x, nil, true
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
