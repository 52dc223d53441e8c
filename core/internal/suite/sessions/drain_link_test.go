package sessions_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/websocket"
)

// abruptLinks are links that lose what is on its way when they are closed.
func abruptLinks() []*lab.Link {
	return []*lab.Link{lab.InmemLink(inmem.WithAbruptClose()), lab.LanesLink(inmem.WithAbruptClose())}
}

// TestDrainWaitsForTheLastAnswers ends sessions in order whose last answers are still on
// their way, over links that lose those when they are closed: each arrives. They used to be
// lost over a slow or long link, where the peer had sent something meanwhile (F19).
func TestDrainWaitsForTheLastAnswers(t *testing.T) {
	const latency = 15 * time.Millisecond
	for _, ending := range []struct {
		name string
		end  func(c *lab.Cluster) // of node 1, or its session with node 0
		over bool                 // and it is over when end returns
	}{
		{"Shutdown", func(c *lab.Cluster) {
			if err := c.Manager(1).Shutdown(context.Background()); err != nil { //nolint:usetesting // A context from outside the bubble would stop its clock.
				c.T.Errorf("Shutdown returned %v", err)
			}
		}, true},
		{"the caller is no member any more", func(c *lab.Cluster) {
			if err := c.Manager(1).SetPeers(nil); err != nil {
				c.T.Error(err)
			}
		}, false},
	} {
		t.Run(ending.name, func(t *testing.T) {
			for _, l := range abruptLinks() {
				t.Run(l.Name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						g := lab.NewGate(t, 10)
						failed := errors.New("the last error")
						c := l.Cluster(t, 2, lab.Handle("block", g.Handle), lab.Handle("fail", func(ctx context.Context, req []byte) ([]byte, error) {
							_, _ = g.Handle(ctx, req)
							return nil, failed
						}), coretest.WithHandlers(func(_ int, m *core.Manager) error {
							return m.HandleStreamFunc("stream", func(ctx context.Context, payload []byte, s *core.RawStream) error {
								_, _ = g.Handle(ctx, payload)
								return s.Send(payload)
							})
						}))
						c.Memory().SetLatency(latency)
						big := lab.Pattern(1, 200<<10)
						small := lab.GoCall(t.Context(), c.Conn(0, 1), "block", []byte("small"))
						large := lab.GoCall(t.Context(), c.Conn(0, 1), "block", big)
						fails := lab.GoCall(t.Context(), c.Conn(0, 1), "fail", nil)
						st, err := c.Conn(0, 1).OpenStream(t.Context(), "stream", []byte("the last message"))
						if err != nil {
							t.Fatal(err)
						}
						for range 4 {
							lab.Wait(t, g.Began, "a handler begins")
						}
						ended := make(chan struct{})
						go func() {
							defer close(ended)
							ending.end(c)
						}()
						time.Sleep(time.Second)
						began := time.Now()
						g.Release()
						for _, call := range []struct {
							r    <-chan lab.Reply
							want []byte
						}{{small, []byte("small")}, {large, big}} {
							if r := lab.Wait(t, call.r, "a call ends"); r.Err != nil || !bytes.Equal(r.Resp, call.want) {
								t.Errorf("the call of %.10q returned %d bytes, %v", call.want, len(r.Resp), r.Err)
							}
						}
						if r := lab.Wait(t, fails, "a call ends"); !lab.Mentions(r.Err, failed.Error()) || core.OutcomeOf(r.Err) != core.OutcomeRemote {
							t.Errorf("the call of a handler that fails returned %v", r.Err)
						}
						if msg, err := st.Recv(nil); err != nil || string(msg) != "the last message" {
							t.Errorf("the stream brought %q, %v", msg, err)
						}
						if msg, err := st.Recv(nil); err != io.EOF {
							t.Errorf("behind the last message the stream brought %q, %v", msg, err)
						}
						lab.Wait(t, ended, "it is over")
						// The large answer takes two round trips; the news that all have arrived
						// takes a way back.
						if d := time.Since(began); ending.over && d > 8*latency {
							t.Errorf("%s returned %v after the last handler, with a latency of %v", ending.name, d, latency)
						}
					})
				})
			}
		})
	}
}

// TestDrainOfAnswersThatWait drains a node at an instant at which all its handlers have
// returned, and their answers wait for a slow link that loses them when it is closed (F19).
func TestDrainOfAnswersThatWait(t *testing.T) {
	for _, l := range abruptLinks() {
		lab.Bubble(t, l.Name, func(t *testing.T) {
			const calls = 20
			g := lab.NewGate(t, calls)
			c := l.Cluster(t, 2, lab.Handle("block", g.Handle))
			var replies []<-chan lab.Reply
			for range calls {
				replies = append(replies, lab.GoCall(t.Context(), c.Conn(0, 1), "block", make([]byte, 30<<10)))
				lab.Wait(t, g.Began, "a handler begins")
			}
			c.Memory().SetConditions(inmem.Conditions{Latency: 15 * time.Millisecond, Bandwidth: 1 << 20})
			g.Release()
			synctest.Wait()
			if err := c.Manager(1).Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown returned %v", err)
			}
			for _, r := range replies {
				if r := lab.Wait(t, r, "a call ends"); r.Err != nil {
					t.Fatalf("a call whose answer waited returned %v", r.Err)
				}
			}
		})
	}
}

// TestDrainAsksAllAtOnce drains a node that has answered many: it takes one round trip
// from the last answer, and not one for each.
func TestDrainAsksAllAtOnce(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		const peers, latency = 10, 50 * time.Millisecond
		g := lab.NewGate(t, peers)
		c := lab.InmemLink().Cluster(t, peers+1, lab.Handle("block", g.Handle))
		c.Memory().SetLatency(latency)
		var replies []<-chan lab.Reply
		for i := range peers {
			replies = append(replies, lab.GoCall(t.Context(), c.Conn(i+1, 0), "block", nil))
			lab.Wait(t, g.Began, "a handler begins")
		}
		done := lab.Go(func() error { return c.Manager(0).Shutdown(t.Context()) })
		time.Sleep(time.Second)
		began := time.Now()
		g.Release()
		if err := lab.Wait(t, done, "Shutdown returns"); err != nil || time.Since(began) > 2*latency {
			t.Errorf("Shutdown returned %v, %v after the last handler", err, time.Since(began))
		}
		for _, r := range replies {
			if r := lab.Wait(t, r, "a call ends"); r.Err != nil {
				t.Error(r.Err)
			}
		}
	})
}

// valveConn is the end of a socket that is read only while there is a token.
type valveConn struct {
	net.Conn
	token chan struct{}   // capacity 1
	wrote chan<- struct{} // told of writes
}

func (c valveConn) Read(p []byte) (int, error) {
	<-c.token
	c.token <- struct{}{}
	return c.Conn.Read(p)
}

func (c valveConn) Write(p []byte) (int, error) {
	select {
	case c.wrote <- struct{}{}:
	default:
	}
	return c.Conn.Write(p)
}

// TestDrainOverASocketThatIsNotRead drains a node whose last answers wait in the sockets,
// while the caller says something. They arrive when the caller reads on; the system used
// to drop them, since the node had closed its socket (F19).
func TestDrainOverASocketThatIsNotRead(t *testing.T) {
	const calls = 40 // more than the socket of the caller holds
	g := lab.NewGate(t, calls)
	manager := func(name string, opts websocket.Options, peer core.Node) *core.Manager {
		t.Helper()
		m, err := core.NewManager(core.Config{
			Local: core.Node{Name: name, Addr: "127.0.0.1:0"}, Peers: []core.Node{peer}, Transport: websocket.New(opts),
			AllowInsecure: true, Logger: slog.New(slog.DiscardHandler), KeepAlive: 50 * time.Millisecond, KeepAliveTimeout: lab.Patience,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		if err := m.Handle("block", g.Handle); err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return m
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	token, wrote := make(chan struct{}, 1), make(chan struct{})
	token <- struct{}{}
	server := manager("server", websocket.Options{Listener: ln}, core.Node{Name: "caller", Addr: "127.0.0.1:1"})
	caller := manager("caller", websocket.Options{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return valveConn{nc, token, wrote}, nil
	}}, core.Node{Name: "server", Addr: ln.Addr().String()})
	if err := caller.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, want := caller.Connection("server"), lab.Pattern(1, 16<<10)
	var replies []<-chan lab.Reply
	for range calls {
		replies = append(replies, lab.GoCall(t.Context(), conn, "block", want))
		lab.Wait(t, g.Began, "a handler begins")
	}
	done := lab.Go(func() error { return server.Shutdown(t.Context()) })
	lab.Until(t, "the caller learns of the drain", func() bool {
		_, err := conn.Request(t.Context(), "no such handler", nil)
		return core.OutcomeOf(err) == core.OutcomeNotSent
	})
	<-token
	g.Release()
	lab.Wait(t, wrote, "the caller, which has heard nothing, asks whether the node lives")
	token <- struct{}{}
	for _, r := range replies {
		if r := lab.Wait(t, r, "a call ends"); r.Err != nil || !bytes.Equal(r.Resp, want) {
			t.Fatalf("a call returned %d bytes, %v", len(r.Resp), r.Err)
		}
	}
	if err := lab.Wait(t, done, "Shutdown returns"); err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
}
