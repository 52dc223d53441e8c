package streams_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// end is one end of a stream, in whichever form.
type end interface {
	send(msg []byte) error
	// recv returns a message that belongs to who receives it, or io.EOF as it is.
	recv() ([]byte, error)
}

// calling is the calling side of a stream.
type calling interface {
	end
	closeSend()
	close()
	done() <-chan struct{}
	err() error
}

// serveFunc is a handler of streams in whichever form.
type serveFunc func(ctx context.Context, payload []byte, s end) error

// form is a form of streams, on both sides.
type form struct {
	name   string
	open   func(ctx context.Context, on core.Caller, h core.HandlerID, payload []byte, opts ...core.CallOption) (calling, error)
	handle func(m *core.Manager, h core.HandlerID, fn serveFunc, in, out int, opts ...core.HandlerOption) error
}

var rawForm, channelForm = form{"raw", openRaw, handleRaw}, form{"channels", openChannels, handleChannels}

var forms = []form{
	rawForm, channelForm,
	{"raw to channels", openRaw, handleChannels},
	{"channels to raw", openChannels, handleRaw},
}

// rawEnd is an end in the form of Send and Recv, of either side.
type rawEnd struct{ *core.RawStream }

func (r rawEnd) send(msg []byte) error { return r.Send(msg) }
func (r rawEnd) recv() ([]byte, error) { return r.Recv(nil) }
func (r rawEnd) closeSend()            { r.CloseSend() }
func (r rawEnd) close()                { r.Close() }
func (r rawEnd) done() <-chan struct{} { return r.Done() }
func (r rawEnd) err() error            { return r.Err() }

func openRaw(ctx context.Context, on core.Caller, h core.HandlerID, payload []byte, opts ...core.CallOption) (calling, error) {
	st, err := on.OpenStream(ctx, h, payload, opts...)
	if err != nil {
		return nil, err
	}
	return rawEnd{st}, nil
}

func handleRaw(m *core.Manager, h core.HandlerID, fn serveFunc, in, out int, opts ...core.HandlerOption) error {
	return m.HandleStreamFunc(h, func(ctx context.Context, payload []byte, s *core.RawStream) error {
		return fn(ctx, payload, rawEnd{s})
	}, append(opts, core.WithCapacity(in, out))...)
}

// channelCaller is the calling side in the form of channels.
type channelCaller struct{ *core.Stream }

func (c channelCaller) send(msg []byte) error { return c.Send(bytes.Clone(msg)) }

func (c channelCaller) recv() ([]byte, error) {
	r, ok := <-c.Responses
	switch {
	case ok:
		return r.Msg, r.Err
	case c.Err() != nil:
		return nil, c.Err()
	default:
		return nil, io.EOF
	}
}

func (c channelCaller) closeSend()            { close(c.Requests) }
func (c channelCaller) close()                { c.Close() }
func (c channelCaller) done() <-chan struct{} { return c.Done() }
func (c channelCaller) err() error            { return c.Err() }

func openChannels(ctx context.Context, on core.Caller, h core.HandlerID, payload []byte, opts ...core.CallOption) (calling, error) {
	st, err := on.NewStream(ctx, h, payload, opts...)
	if err != nil {
		return nil, err
	}
	return channelCaller{st}, nil
}

// channelHandler is the serving side in the form of channels.
type channelHandler struct {
	ctx context.Context
	in  <-chan []byte
	out chan<- []byte
}

// send is plain: it must never block for ever.
func (c channelHandler) send(msg []byte) error {
	c.out <- bytes.Clone(msg)
	return context.Cause(c.ctx)
}

func (c channelHandler) recv() ([]byte, error) {
	if msg, ok := <-c.in; ok {
		return msg, nil
	}
	if err := context.Cause(c.ctx); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

func handleChannels(m *core.Manager, h core.HandlerID, fn serveFunc, in, out int, opts ...core.HandlerOption) error {
	return m.HandleStream(h, core.StreamHandler{
		InCapacity: in, OutCapacity: out,
		Handle: func(ctx context.Context, payload []byte, in <-chan []byte, out chan<- []byte) error {
			return fn(ctx, payload, channelHandler{ctx, in, out})
		},
	}, opts...)
}

// overLinks runs a test over every link, with streams in every form.
func overLinks(t *testing.T, test func(t *testing.T, l *lab.Link, f form)) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) { test(t, l, f) })
		})
	}
}

// inBubbles runs a test of times in a bubble, with streams in every form.
func inBubbles(t *testing.T, test func(t *testing.T, f form)) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, f) })
		})
	}
}

// serve registers a handler on all nodes.
func (f form) serve(h core.HandlerID, fn serveFunc, in, out int, opts ...core.HandlerOption) coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error { return f.handle(m, h, fn, in, out, opts...) })
}

// mustOpen opens a stream that has to be opened.
func (f form) mustOpen(t testing.TB, on core.Caller, h core.HandlerID, payload []byte, opts ...core.CallOption) calling {
	t.Helper()
	return f.mustOpenWith(t.Context(), t, on, h, payload, opts...)
}

func (f form) mustOpenWith(ctx context.Context, t testing.TB, on core.Caller, h core.HandlerID, payload []byte, opts ...core.CallOption) calling {
	t.Helper()
	st, err := f.open(ctx, on, h, payload, opts...)
	if err != nil {
		t.Fatalf("opening a stream to %s failed: %v", h, err)
	}
	return st
}

// wantMessages receives as many messages as there are in want.
func wantMessages(t testing.TB, what string, s end, want ...string) {
	t.Helper()
	for i, w := range want {
		msg, err := s.recv()
		if err != nil || string(msg) != w {
			t.Fatalf("%s: message %d is %.40q, error %v, want %.40q", what, i, msg, err, w)
		}
	}
}

// wantEnd receives a clean end.
func wantEnd(t testing.TB, what string, s end) {
	t.Helper()
	if msg, err := s.recv(); err != io.EOF {
		t.Errorf("%s: got message %.40q, error %v, want io.EOF", what, msg, err)
	}
}

// echo sends back what it receives, and ends when that does.
func echo(_ context.Context, _ []byte, s end) error {
	for {
		msg, err := s.recv()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := s.send(msg); err != nil {
			return err
		}
	}
}

// onlyNode registers handlers on one node alone.
func onlyNode(node int, register func(m *core.Manager) error) coretest.Option {
	return coretest.WithHandlers(func(i int, m *core.Manager) error {
		if i != node {
			return nil
		}
		return register(m)
	})
}
