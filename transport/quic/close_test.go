package quic_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/gridmux/gridmux/internal/packetnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/quic"
)

// TestCloseBehindBulk expects CloseWithError right behind megabytes, on a long and
// lossy link, to come behind all of them, on the connection and on a lane, though
// they take far more than the windows of QUIC.
func TestCloseBehindBulk(t *testing.T) {
	inLab(t, func(l *lab) {
		l.net.Set(packetnet.Conditions{Latency: 20 * time.Millisecond, Loss: 0.01})
		c, s := l.pair(quic.Options{}, quic.Options{})
		lane, err := c.(transport.LaneConn).OpenLane(l.Context())
		if err != nil {
			l.Fatal(err)
		}
		const frames, size = 100, 30_000
		for _, near := range []transport.Conn{lane, c} {
			go func() {
				for range frames {
					if err := send(near, string(make([]byte, size))); err != nil {
						l.Errorf("send: %v", err)
					}
				}
				near.CloseWithError(42, "done")
			}()
			far := s
			if near == lane {
				if far, err = s.(transport.LaneConn).AcceptLane(l.Context()); err != nil {
					l.Fatal(err)
				}
			}
			for n := range frames {
				if p, err := far.ReadFrame(size); err != nil || len(p) != size {
					l.Fatalf("frame %d: %d bytes, %v", n, len(p), err)
				}
			}
			wantClose(l.T, far, 42, "done")
			far.CloseWithError(0, "")
		}
	})
}

// TestCloseBesideAWrite expects CloseWithError during a WriteFrames that takes several
// round trips to let it end, and to come behind it; and not to wait for one that the
// peer lets stand.
func TestCloseBesideAWrite(t *testing.T) {
	const size = 400_000
	for _, reads := range []bool{true, false} {
		inLab(t, func(l *lab) {
			l.net.Set(packetnet.Conditions{Latency: 5 * time.Millisecond})
			c, s := l.pair(quic.Options{}, quic.Options{})
			sent := make(chan error, 1)
			go func() {
				err := send(c, string(make([]byte, size)))
				for err == nil && !reads {
					err = send(c, string(make([]byte, size)))
				}
				sent <- err
			}()
			if !reads {
				l.settle()
			}
			<-time.After(time.Millisecond)
			closed := make(chan time.Duration)
			go func() {
				began := time.Now()
				c.CloseWithError(7, "bye")
				closed <- time.Since(began)
			}()
			if reads {
				if p, err := s.ReadFrame(size); err != nil || len(p) != size {
					l.Errorf("%d bytes, %v", len(p), err)
				}
				wantClose(l.T, s, 7, "bye")
			}
			if d := <-closed; d > 150*time.Millisecond {
				l.Errorf("peer reads %v: CloseWithError took %v", reads, d)
			}
			if err := <-sent; reads != (err == nil) {
				l.Errorf("peer reads %v: %v", reads, err)
			}
		})
	}
}

// TestCloseWaitsForAReader expects a peer that is slow to get its frames and the
// reason if it reads within three seconds, and the code and reason if not.
func TestCloseWaitsForAReader(t *testing.T) {
	for _, pause := range []time.Duration{2 * time.Second, 4 * time.Second} {
		inLab(t, func(l *lab) {
			c, s := l.pair(quic.Options{}, quic.Options{})
			send(c, "hello")
			began := time.Now()
			c.CloseWithError(42, "done")
			if d := time.Since(began); d > 30*time.Millisecond {
				l.Errorf("CloseWithError took %v", d)
			}
			<-time.After(pause)
			if pause < 3*time.Second {
				if p, err := s.ReadFrame(100); err != nil || string(p) != "hello" {
					l.Errorf("%q, %v", p, err)
				}
			}
			wantClose(l.T, s, 42, "done")
		})
	}
}

// TestCloseReturns expects CloseWithError not to wait for the peer on a node that
// listens, and for an instant on one that does not and so may be about to leave.
func TestCloseReturns(t *testing.T) {
	inLab(t, func(l *lab) {
		c, s := l.pair(quic.Options{}, quic.Options{})
		began := time.Now()
		s.CloseWithError(1, "")
		if d := time.Since(began); d != 0 {
			l.Errorf("on the node that listens: %v", d)
		}
		wantClose(l.T, c, 1, "")
		c.CloseWithError(0, "")
	})
	inLab(t, func(l *lab) {
		c, s := l.pair(quic.Options{}, quic.Options{})
		reading := make(chan error)
		go func() {
			_, err := s.ReadFrame(100)
			reading <- err
		}()
		began := time.Now()
		c.CloseWithError(1, "")
		if d := time.Since(began); d < 2*time.Millisecond || d > 10*time.Millisecond {
			l.Errorf("on the node that does not, with a round trip of 2 ms: %v", d)
		}
		<-reading
	})
	// A link that is dead.
	inLab(t, func(l *lab) {
		c, s := l.pair(quic.Options{}, quic.Options{})
		l.net.Silence(time.Hour)
		for _, end := range []transport.Conn{s, c} {
			began := time.Now()
			end.CloseWithError(1, "")
			if d := time.Since(began); d > 20*time.Millisecond {
				l.Errorf("on a dead link: %v", d)
			}
		}
	})
}

// TestPortOfASlowPeer expects a node that has closed its listener to wait for a peer
// with a round trip of 60 ms, so that its port is free, and for one that is gone no
// more than 100 ms.
func TestPortOfASlowPeer(t *testing.T) {
	for _, gone := range []bool{false, true} {
		inLab(t, func(l *lab) {
			l.net.Set(packetnet.Conditions{Latency: 30 * time.Millisecond})
			ln := listen(l.T, l.transport(serverAddr, quic.Options{TLS: l.pki.node(l.T, "server")}), "")
			c := dial(l.T, l.transport(clientAddr, quic.Options{TLS: l.pki.node(l.T, "client")}), transport.Peer{Name: "server", Addr: serverAddr})
			s := accept(l.T, ln)
			exchange(l.T, c, s)
			if gone {
				l.net.Silence(time.Hour)
			} else {
				go c.ReadFrame(100)
			}
			ln.Close()
			began := time.Now()
			s.CloseWithError(7, "bye")
			want := [2]time.Duration{60 * time.Millisecond, 90 * time.Millisecond}
			if gone {
				want = [2]time.Duration{100 * time.Millisecond, 100 * time.Millisecond}
			}
			if d := time.Since(began); d < want[0] || d > want[1] {
				l.Errorf("the peer is gone %v: CloseWithError took %v, want %v", gone, d, want)
			}
		})
	}
}

// TestLastWordsOfAMountedNode expects a node that has closed its listener to wait for
// its last words to arrive, as one with an own listener does, since its process and
// the socket may be gone right after.
func TestLastWordsOfAMountedNode(t *testing.T) {
	for _, listenerFirst := range []bool{true, false} {
		inLab(t, func(l *lab) {
			ln := l.mounted(quic.Options{TLS: l.pki.node(l.T, "server")}, []string{quic.Protocol}, false)
			c := dial(l.T, l.transport(clientAddr, quic.Options{TLS: l.pki.node(l.T, "client")}), transport.Peer{Name: "server", Addr: serverAddr})
			s := accept(l.T, ln)
			exchange(l.T, c, s)
			read := make(chan error, 1)
			go func() {
				_, err := c.ReadFrame(100)
				read <- err
			}()
			steps := []func(){func() { ln.Close() }, func() { s.CloseWithError(7, "bye") }}
			if !listenerFirst {
				slices.Reverse(steps)
			}
			began := time.Now()
			for _, step := range steps {
				step()
			}
			if d := time.Since(began); d > 10*time.Millisecond {
				l.Errorf("with a round trip of 2 ms it took %v", d)
			}
			l.net.Silence(time.Hour)
			if ce, ok := errors.AsType[*transport.CloseError](<-read); !ok || ce.Code != 7 || ce.Reason != "bye" {
				l.Errorf("listener first %v: %v", listenerFirst, ce)
			}
		})
	}
}

// TestLaneLimit expects OpenLane to wait while 256 lanes are open, with its
// context, and for the first to be closed by both ends.
func TestLaneLimit(t *testing.T) {
	inLab(t, func(l *lab) {
		c, s := l.pair(quic.Options{}, quic.Options{})
		near, far := c.(transport.LaneConn), s.(transport.LaneConn)
		var first, firstFar transport.Conn
		ended, end := context.WithCancel(l.Context())
		end()
		for n := range 256 {
			lane, err := near.OpenLane(ended) // it need not wait
			if err != nil {
				l.Fatal(err)
			}
			send(lane, "hello")
			laneFar, err := far.AcceptLane(l.Context())
			if err != nil {
				l.Fatal(err)
			}
			if n == 0 {
				first, firstFar = lane, laneFar
			}
		}
		ctx, cancel := context.WithTimeout(l.Context(), time.Second)
		defer cancel()
		if _, err := near.OpenLane(ctx); !errors.Is(err, context.DeadlineExceeded) {
			l.Errorf("lane 257: %v", err)
		}
		opened := make(chan error)
		go func() {
			_, err := near.OpenLane(l.Context())
			opened <- err
		}()
		l.settle()
		first.CloseWithError(0, "")
		firstFar.ReadFrame(100)
		wantClose(l.T, firstFar, 0, "")
		firstFar.CloseWithError(0, "")
		if err := <-opened; err != nil {
			l.Errorf("when one was closed: %v", err)
		}

		go func() {
			_, err := near.OpenLane(l.Context())
			opened <- err
		}()
		l.settle()
		c.CloseWithError(0, "")
		if err := <-opened; !errors.Is(err, net.ErrClosed) {
			l.Errorf("when the connection was closed: %v", err)
		}
		if _, err := far.OpenLane(l.Context()); err == nil || errors.Is(err, net.ErrClosed) {
			l.Errorf("when the peer had closed: %v", err)
		}
	})
}
