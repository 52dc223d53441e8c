//go:build !race

package streamcost_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gridmux/gridmux/core"
)

// ending is a way for a stream to end.
type ending struct {
	name    string
	serve   func(ctx context.Context, s *core.RawStream) error
	end     func(s caller, cancel func()) error // at the calling side
	cancels bool                                // end does, a context of its own

	opts []core.CallOption
}

// caller is the calling side of a stream in either form.
type caller interface {
	Send(msg []byte) error
	Close() error
	recv() ([]byte, error)
	closeSend()
}

type rawCaller struct{ *core.RawStream }

func (c rawCaller) recv() ([]byte, error) { return c.Recv(nil) }
func (c rawCaller) closeSend()            { _ = c.CloseSend() }

type channelCaller struct{ *core.Stream }

func (c channelCaller) recv() ([]byte, error) {
	r, ok := <-c.Responses
	if !ok {
		return nil, io.EOF
	}
	return r.Msg, r.Err
}
func (c channelCaller) closeSend() { close(c.Requests) }

var errPlanned = errors.New("planned")

// sendSome is a handler that sends a few messages.
func sendSome(_ context.Context, s *core.RawStream) error {
	for range 3 {
		if err := s.Send([]byte("some")); err != nil {
			return err
		}
	}
	return nil
}

// untilEnd is a handler that sends and receives until its stream ends.
func untilEnd(ctx context.Context, s *core.RawStream) error {
	if err := sendSome(ctx, s); err != nil {
		return err
	}
	for {
		if _, err := s.Recv(nil); err != nil {
			return err
		}
	}
}

func read(s caller) error {
	for {
		if _, err := s.recv(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// wantError holds that a stream did not end well.
func wantError(err error) error {
	if err == nil {
		return errors.New("it ended well")
	}
	return nil
}

var endings = []ending{
	{name: "the handler returns", serve: sendSome, end: func(s caller, _ func()) error { return read(s) }},
	{
		name:  "the handler fails",
		serve: func(ctx context.Context, s *core.RawStream) error { return errors.Join(sendSome(ctx, s), errPlanned) },
		end:   func(s caller, _ func()) error { return wantError(read(s)) },
	},
	{
		name:  "the handler does not return",
		serve: func(context.Context, *core.RawStream) error { panic(errPlanned) },
		end:   func(s caller, _ func()) error { return wantError(read(s)) },
	},
	{
		name: "the caller ends its messages", serve: func(ctx context.Context, s *core.RawStream) error {
			if err := untilEnd(ctx, s); err != io.EOF {
				return err
			}
			return nil
		},
		end: func(s caller, _ func()) error {
			err := s.Send(make([]byte, 1000))
			s.closeSend()
			return errors.Join(err, read(s))
		},
	},
	{name: "closed unread", serve: untilEnd, end: func(s caller, _ func()) error { return s.Close() }},
	{
		name: "closed after a message", serve: untilEnd, end: func(s caller, _ func()) error {
			_, err := s.recv()
			return errors.Join(err, s.Close())
		},
	},
	{name: "cancelled and never touched again", cancels: true, serve: untilEnd, end: func(_ caller, cancel func()) error { cancel(); return nil }},
	{
		name: "cancelled while it is full", cancels: true, serve: func(_ context.Context, s *core.RawStream) error {
			for {
				if err := s.Send(make([]byte, 1000)); err != nil {
					return err
				}
			}
		},
		end: func(s caller, cancel func()) error {
			_, err := s.recv()
			cancel()
			return err
		},
	},
	{
		name: "its time is over", serve: untilEnd, end: func(s caller, _ func()) error { return wantError(read(s)) },
		opts: []core.CallOption{core.WithTimeout(5 * time.Millisecond)},
	},
	{
		name: "a large message on its way", serve: func(_ context.Context, s *core.RawStream) error { return s.Send(make([]byte, 100_000)) },
		end: func(s caller, _ func()) error { return s.Close() },
	},
	{name: "the handler returns, read to the end later", serve: sendSome, end: func(s caller, _ func()) error {
		_, err := s.recv()
		return errors.Join(err, read(s))
	}},
}

// call makes a stream that ends in this way. The context lives on: what was
// ended otherwise has to leave nothing in it.
func (e ending) call(ctx context.Context, c *core.Connection, channels bool, number byte) error {
	cancel := func() {}
	if e.cancels {
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
	}
	var s caller
	if channels {
		st, err := c.NewStream(ctx, "end", []byte{number}, e.opts...)
		if err != nil {
			return e.atOpening(err)
		}
		s = channelCaller{st}
	} else {
		st, err := c.OpenStream(ctx, "end", []byte{number}, e.opts...)
		if err != nil {
			return e.atOpening(err)
		}
		s = rawCaller{st}
	}
	return e.end(s, cancel)
}

// atOpening judges an error of OpenStream or NewStream: the time of a stream may
// be over before it is open.
func (e ending) atOpening(err error) error {
	if len(e.opts) > 0 && errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return fmt.Errorf("opening it: %w", err)
}
