package transporttest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/gridmux/gridmux/transport"
)

// onDial replaces Dial.
func onDial(f func(ctx context.Context, to transport.Peer, next dialFunc) (transport.Conn, error)) func() Fixture {
	return brokenTransport(wrapped{dial: f})
}

// onListen replaces Listen.
func onListen(f func(ctx context.Context, addr string, next listenFunc) (transport.Listener, error)) func() Fixture {
	return brokenTransport(wrapped{listen: f})
}

func onInfo(f func(i *transport.Info)) func() Fixture {
	return broken(func(c *conn) {
		info := c.info
		c.info = func() transport.Info { i := info(); f(&i); return i }
	})
}

var dialDefects = []defect{
	{"wants too much headroom", "Info", "Headroom is 0 to 64", onInfo(func(i *transport.Info) { i.Headroom = 65 })},
	{"takes small frames only", "Info", "MaxFrame is at least", onInfo(func(i *transport.Info) { i.MaxFrame = 1000 })},
	{"forgets an address", "Info", "both addresses", onInfo(func(i *transport.Info) { i.RemoteAddr = nil })},
	{"forgets its name at the end", "Info", "Info is constant", broken(func(c *conn) {
		end, info := c.end, c.info
		var ended atomic.Bool
		c.end = func(code uint32, reason string) error { ended.Store(true); return end(code, reason) }
		c.info = func() transport.Info {
			i := info()
			if ended.Load() {
				i.PeerName = "nobody"
			}
			return i
		}
	})},
	{"dials whatever the context says", "DialEndedContext", "context that has ended fails", onDial(
		func(ctx context.Context, to transport.Peer, next dialFunc) (transport.Conn, error) {
			return next(context.WithoutCancel(ctx), to)
		})},
	{"leaves a connection behind", "DialEndedContext", "leaves nothing behind", onDial(
		func(ctx context.Context, to transport.Peer, next dialFunc) (transport.Conn, error) {
			if ctx.Err() != nil {
				_, _ = next(context.WithoutCancel(ctx), to)
			}
			return next(ctx, to)
		})},
	{"waits for an answer whatever the context says", "DialContextEndsDuring", "whatever it waits for", onDial(
		func(ctx context.Context, to transport.Peer, next dialFunc) (transport.Conn, error) {
			return next(context.WithoutCancel(ctx), to)
		})},
	{"ties the connection to the context", "DialContextEndsAfter", "no influence", onDial(
		func(ctx context.Context, to transport.Peer, next dialFunc) (transport.Conn, error) {
			c, err := next(ctx, to)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = c.CloseWithError(1, "context ended") })
			}
			return c, err
		})},
	{"has its own dial error", "DialNobody", "*transport.DialError", onDial(
		func(ctx context.Context, to transport.Peer, next dialFunc) (transport.Conn, error) {
			c, err := next(ctx, to)
			if err != nil {
				return nil, errBroken
			}
			return c, nil
		})},
	{"names no phase", "DialNobody", "names the phase", onDial(
		func(ctx context.Context, to transport.Peer, next dialFunc) (transport.Conn, error) {
			c, err := next(ctx, to)
			if de, ok := errors.AsType[*transport.DialError](err); ok {
				de.Phase = ""
			}
			return c, err
		})},
	{"dials only into an Accept", "DialBeforeAccept", "Dial of a listener returns", brokenTransport(wrapped{
		dial: func(ctx context.Context, to transport.Peer, next dialFunc) (transport.Conn, error) {
			c, err := next(ctx, to)
			if err == nil {
				_, err = c.ReadFrame(1)
			}
			return c, err
		},
		listener: func(l *listener) {
			accept := l.accept
			l.accept = func(ctx context.Context) (transport.Conn, error) {
				c, err := accept(ctx)
				if err == nil {
					err = c.WriteFrames([][]byte{{}})
				}
				return c, err
			}
		},
	})},
}

var listenDefects = []defect{
	{"ties the listener to the context", "ListenContextEndsAfter", "bounds Listen alone", onListen(
		func(ctx context.Context, addr string, next listenFunc) (transport.Listener, error) {
			l, err := next(ctx, addr)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = l.Close() })
			}
			return l, err
		})},
	{"listens elsewhere if the address is taken", "ListenTwice", "already listens", onListen(
		func(ctx context.Context, addr string, next listenFunc) (transport.Listener, error) {
			l, err := next(ctx, addr)
			if err != nil {
				return next(ctx, "")
			}
			return l, nil
		})},
	{"keeps the address", "ListenAgain", "address that is free", brokenListener(func(l *listener) {
		l.close = func() error { return nil }
	})},
	{"tells an address that is not its own", "ListenerAddr", "can be dialled", onListen(
		func(ctx context.Context, addr string, next listenFunc) (transport.Listener, error) {
			l, err := next(ctx, addr)
			return misnamed{l}, err
		})},
	{"accepts whatever the context says", "AcceptContext", "when its context ends", brokenListener(func(l *listener) {
		accept := l.accept
		l.accept = func(ctx context.Context) (transport.Conn, error) { return accept(context.WithoutCancel(ctx)) }
	})},
	{"loses the connection with the context", "AcceptContextRace", "does not lose a connection", brokenListener(func(l *listener) {
		accept := l.accept
		l.accept = func(ctx context.Context) (transport.Conn, error) {
			type result struct {
				c   transport.Conn
				err error
			}
			accepted := make(chan result, 1)
			go func() {
				c, err := accept(context.WithoutCancel(ctx))
				accepted <- result{c, err}
			}()
			select {
			case r := <-accepted:
				return r.c, r.err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	})},
	{"waits for the handshake in Accept", "AcceptIgnoresStrays", "neither delays nor fails", func() Fixture {
		f := brokenTransport(wrapped{
			dial: func(ctx context.Context, to transport.Peer, next dialFunc) (transport.Conn, error) {
				c, err := next(ctx, to)
				if err == nil {
					err = c.WriteFrames([][]byte{[]byte("hello")})
				}
				return c, err
			},
			listener: func(l *listener) {
				accept := l.accept
				l.accept = func(ctx context.Context) (transport.Conn, error) {
					c, err := accept(ctx)
					if err == nil {
						_, err = c.ReadFrame(5)
					}
					return c, err
				}
			},
		})()
		f.Stray = func(addr string) {
			if w, ok := f.Dialer.(*wrapped); ok {
				_, _ = w.Transport.Dial(context.Background(), transport.Peer{Addr: addr})
			}
		}
		return f
	}},
	{"ends Accept with io.EOF", "AcceptAfterClose", "Accept after Close fails", brokenListener(func(l *listener) {
		accept := l.accept
		l.accept = func(ctx context.Context) (transport.Conn, error) {
			c, err := accept(ctx)
			if err != nil && ctx.Err() == nil {
				return nil, io.EOF
			}
			return c, err
		}
	})},
	{"unblocks one Accept only", "ListenerCloseUnblocksAccept", "every Accept", brokenListener(func(l *listener) {
		accept := l.accept
		var returned atomic.Bool
		l.accept = func(ctx context.Context) (transport.Conn, error) {
			c, err := accept(ctx)
			if isClosed(err) && returned.Swap(true) {
				never()
			}
			return c, err
		}
	})},
	{"closes the listener once", "ListenerCloses", "any number of times", brokenListener(func(l *listener) {
		end := l.close
		var closed atomic.Bool
		l.close = func() error {
			if closed.Swap(true) {
				never()
			}
			return end()
		}
	})},
	{"closes accepted connections with the listener", "AcceptedOutliveListener", "live on", brokenListener(func(l *listener) {
		accept, end := l.accept, l.close
		var mu sync.Mutex
		var conns []transport.Conn
		l.accept = func(ctx context.Context) (transport.Conn, error) {
			c, err := accept(ctx)
			if err == nil {
				mu.Lock()
				conns = append(conns, c)
				mu.Unlock()
			}
			return c, err
		}
		l.close = func() error {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range conns {
				_ = c.CloseWithError(1, "")
			}
			return end()
		}
	})},
	{"forgets connections in its queue", "UnacceptedAreClosed", "nobody accepted", brokenListener(func(l *listener) {
		accept := l.accept
		queue := make(chan transport.Conn, 10)
		go func() {
			for {
				c, err := accept(context.Background())
				if err != nil {
					return
				}
				queue <- c
			}
		}()
	})},
	{"makes ten connections at most", "ManyConnections", "many connections", brokenListener(func(l *listener) {
		accept := l.accept
		var n atomic.Int32
		l.accept = func(ctx context.Context) (transport.Conn, error) {
			if n.Add(1) > 10 {
				return nil, errBroken
			}
			return accept(ctx)
		}
	})},
}

type misnamed struct{ transport.Listener }

func (misnamed) Addr() net.Addr { return misname{} }

type misname struct{}

func (misname) Network() string { return "inmem" }
func (misname) String() string  { return "elsewhere" }
