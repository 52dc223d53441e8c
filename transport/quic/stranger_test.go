package quic_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/quic"
)

// TestStrangersBuffer expects a peer whose frames nobody has read yet, as before the
// handshake of the core, to get no more than 768 KiB across on all lanes together,
// and all of them to arrive when they are read.
func TestStrangersBuffer(t *testing.T) {
	inLab(t, func(l *lab) {
		const window, lanes, size = 768 << 10, 20, 128 << 10
		s, qc, _ := l.acceptBare(begin)
		done := make(chan error)
		for range lanes {
			stream, err := qc.OpenStream()
			if err != nil {
				l.Fatal(err)
			}
			go func() {
				_, err := stream.Write(append([]byte{0, 0, size >> 16, 0}, make([]byte, size)...))
				done <- err
			}()
		}
		l.settle()
		sent := qc.ConnectionStats().BytesSent
		if sent < window || sent > window+window/8 {
			t.Errorf("with windows of %d bytes %d were sent", window, sent)
		}
		for range lanes {
			lane, err := s.(transport.LaneConn).AcceptLane(l.Context())
			if err != nil {
				l.Fatal(err)
			}
			go func() {
				p, err := lane.ReadFrame(size)
				if err == nil && len(p) != size {
					err = fmt.Errorf("a frame of %d bytes", len(p))
				}
				done <- err
			}()
		}
		for range 2 * lanes {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// mounted listens by hand and passes everything on to a transport with the options.
func (l *lab) mounted(o quic.Options, offered []string, early bool) transport.Listener {
	l.Helper()
	o.Transport = &quicgo.Transport{Conn: open(l.T, l.net, serverAddr)}
	o.Mounted = true
	l.Cleanup(func() { o.Transport.Close() })
	cfg := o.TLS.Clone()
	cfg.NextProtos = offered
	var next func() (*quicgo.Conn, error)
	if early {
		ln, err := o.Transport.ListenEarly(cfg, &quicgo.Config{Allow0RTT: true})
		if err != nil {
			l.Fatal(err)
		}
		next = func() (*quicgo.Conn, error) { return ln.Accept(l.Context()) }
	} else {
		ln, err := o.Transport.Listen(cfg, nil)
		if err != nil {
			l.Fatal(err)
		}
		next = func() (*quicgo.Conn, error) { return ln.Accept(l.Context()) }
	}
	tr := quic.New(o)
	go func() {
		for {
			qc, err := next()
			if err != nil {
				return
			}
			go tr.ServeConn(qc)
		}
	}()
	return listen(l.T, tr, "mounted")
}

// TestOneHostKeepsNobodyOut expects a host with any number of connections that say
// nothing to have no more than 512 of them, and another to get in beside them: with
// a transport of the user's, and mounted.
func TestOneHostKeepsNobodyOut(t *testing.T) {
	for name, server := range map[string]func(l *lab, cfg *tls.Config) transport.Listener{
		"transport": func(l *lab, cfg *tls.Config) transport.Listener {
			tr := &quicgo.Transport{Conn: open(l.T, l.net, serverAddr)}
			l.Cleanup(func() { tr.Close() })
			ln := listen(l.T, quic.New(quic.Options{TLS: cfg, Transport: tr}), "")
			if tr.ConnContext != nil || tr.VerifySourceAddress != nil {
				l.Error("the user's transport was changed")
			}
			return ln
		},
		"mounted": func(l *lab, cfg *tls.Config) transport.Listener {
			return l.mounted(quic.Options{TLS: cfg}, []string{quic.Protocol}, false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				cfg := l.pki.node(l.T, "server")
				cfg.ClientAuth = tls.NoClientCert
				ln := server(l, cfg)
				tr := &quicgo.Transport{Conn: open(l.T, l.net, clientAddr)}
				l.Cleanup(func() { tr.Close() })
				stranger := &tls.Config{
					RootCAs: l.pki.pool, ServerName: "server", NextProtos: []string{quic.Protocol},
					CurvePreferences: []tls.CurveID{tls.X25519}, // which fits into one packet
				}
				var mu sync.Mutex
				var in []*quicgo.Conn
				began := time.Now()
				for range 68 {
					var wg sync.WaitGroup
					for range 8 { // quic-go drops a Retry when 8 wait
						wg.Go(func() {
							qc, err := tr.Dial(l.Context(), udpAddr(l.T, serverAddr), stranger, nil)
							if err == nil {
								mu.Lock()
								defer mu.Unlock()
								in = append(in, qc)
							}
						})
					}
					wg.Wait()
				}
				<-time.After(50 * time.Millisecond) // the mounted one refuses them behind the handshake
				open := 0
				for _, qc := range in {
					if qc.Context().Err() == nil {
						open++
					}
				}
				if open != 512 {
					t.Errorf("one host has %d connections", open)
				}
				c := dial(l.T, l.transport(otherAddr, quic.Options{TLS: l.pki.node(l.T, "client")}), transport.Peer{Name: "server", Addr: serverAddr})
				exchange(l.T, c, accept(l.T, ln))
				if d := time.Since(began); d > 4*time.Second {
					t.Errorf("it took %v, and the first ones are over", d)
				}
				<-time.After(6 * time.Second)
				for _, qc := range in {
					if qc.Context().Err() == nil {
						t.Fatal("who says nothing has more than five seconds")
					}
				}
			})
		})
	}
}

// blockedHandler blocks whoever logs until gate is closed.
type blockedHandler struct {
	slog.Handler
	in   chan struct{} // has room for one, and gets it when somebody is blocked
	gate chan struct{}
}

func (*blockedHandler) Enabled(context.Context, slog.Level) bool { return true }

func (b *blockedHandler) Handle(context.Context, slog.Record) error {
	select {
	case b.in <- struct{}{}:
	default:
	}
	<-b.gate
	return nil
}

// TestBlockedLoggerHoldsNobodyUp expects a logger that blocks on a stranger to keep
// neither others out nor Close of the listener from returning.
func TestBlockedLoggerHoldsNobodyUp(t *testing.T) {
	inLab(t, func(l *lab) {
		blocked := &blockedHandler{slog.DiscardHandler, make(chan struct{}, 1), make(chan struct{})}
		defer close(blocked.gate)
		ln := listen(l.T, l.transport(serverAddr, quic.Options{
			TLS: l.pki.node(l.T, "server"), Logger: slog.New(blocked),
		}), "")
		qc, err := l.bareDial(clientAddr, serverAddr, quic.Protocol)
		if err != nil {
			l.Fatal(err)
		}
		s, err := qc.OpenStream()
		if err != nil {
			l.Fatal(err)
		}
		s.Write(hello) // in place of BEGIN
		<-blocked.in
		c := dial(l.T, l.transport(otherAddr, quic.Options{TLS: l.pki.node(l.T, "client")}), transport.Peer{Name: "server", Addr: serverAddr})
		exchange(l.T, c, accept(l.T, ln))
		closed := make(chan error, 1)
		go func() { closed <- ln.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				l.Error(err)
			}
		case <-time.After(time.Second):
			l.Error("Close of the listener waits for the logger")
		}
	})
}

// TestQueueOfAListener expects a listener that nobody accepts from to hold 128
// connections and to refuse the next one, saying so, until one is taken.
func TestQueueOfAListener(t *testing.T) {
	inLab(t, func(l *lab) {
		ln := listen(l.T, l.transport(serverAddr, quic.Options{TLS: l.pki.node(l.T, "server")}), "")
		client := l.transport(clientAddr, quic.Options{TLS: l.pki.node(l.T, "client")})
		to := transport.Peer{Name: "server", Addr: serverAddr}
		for range 128 {
			dial(l.T, client, to)
		}
		_, err := client.Dial(l.Context(), to)
		wantDialError(l.T, err, transport.PhaseUpgrade, "not accepting connections right now")
		accept(l.T, ln)
		dial(l.T, client, to)
	})
}
