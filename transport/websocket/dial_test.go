package websocket_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

func wantDialError(t *testing.T, err error, phase string, says ...string) {
	t.Helper()
	de, ok := errors.AsType[*transport.DialError](err)
	if !ok {
		t.Fatalf("%v is no *transport.DialError", err)
	}
	if de.Phase != phase {
		t.Errorf("phase %q, want %q: %v", de.Phase, phase, err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("the error does not say %s: %v", s, err)
		}
	}
}

// memServer runs serve for every connection to an address in memory and returns
// a transport that dials it.
func memServer(t *testing.T, serve func(nc net.Conn)) *websocket.Transport {
	t.Helper()
	mem := memnet.Listen("a:1")
	t.Cleanup(func() { mem.Close() })
	go func() {
		for {
			nc, err := mem.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				serve(nc)
			}()
		}
	}()
	return websocket.New(websocket.Options{DialContext: mem.DialContext})
}

var peerA = transport.Peer{Name: "a", Addr: "a:1"}

// TestStrangeServers: whatever is there in place of a gridmux node, the error
// says so.
func TestStrangeServers(t *testing.T) {
	answer := func(s string) func(nc net.Conn) {
		return func(nc net.Conn) {
			http.ReadRequest(bufio.NewReader(nc))
			io.WriteString(nc, s)
			// The client is the first to close, so that it sees all of it.
			io.Copy(io.Discard, nc)
		}
	}
	const accept = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
	for _, c := range []struct {
		name  string
		serve func(nc net.Conn)
		says  string
	}{
		{"closes", func(nc net.Conn) {}, ""},
		{"closes after the request", func(nc net.Conn) { http.ReadRequest(bufio.NewReader(nc)) }, "closed without an answer"},
		{"speaks SSH", answer("SSH-2.0-OpenSSH_9.6\r\n"), "malformed"},
		{"half a status line", func(nc net.Conn) {
			http.ReadRequest(bufio.NewReader(nc))
			io.WriteString(nc, "HTTP/1.1 40")
		}, "EOF"},
		{"wrong accept key", answer("HTTP/1.1 101 X\r\n" + accept + "AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"), "Accept"},
		{"no upgrade header", answer("HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n"), "invalid websocket handshake"},
		{"endless header", answer("HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Header: filler\r\n", 10_000)), "200"},
		{"endless line", answer("HTTP/1.1 101 " + strings.Repeat("X", 100_000)), "no upgrade"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := memServer(t, c.serve).Dial(t.Context(), peerA)
				wantDialError(t, err, transport.PhaseUpgrade, c.says)
				if errors.Is(err, io.EOF) {
					t.Errorf("io.EOF says nothing: %v", err)
				}
			})
		})
	}
}

// TestServerWithout insists on the sub-protocol and takes no extension (T4).
func TestServerWithout(t *testing.T) {
	for _, c := range []struct {
		name, header, says string
	}{
		{"sub-protocol", "", `did not select the sub-protocol "gridmux/1"`},
		{"our sub-protocol", "Sec-WebSocket-Protocol: chat\r\n", "Protocol"},
		{"restraint", "Sec-WebSocket-Protocol: gridmux/1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n", "none was offered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := memServer(t, func(nc net.Conn) {
					ws.Upgrader{Header: ws.HandshakeHeaderString(c.header)}.Upgrade(nc)
					io.Copy(io.Discard, nc)
				})
				_, err := tr.Dial(t.Context(), peerA)
				wantDialError(t, err, transport.PhaseUpgrade, c.says)
			})
		})
	}
}

// TestEarlyFrames: the server's first frames come in one segment with its
// answer.
func TestEarlyFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := ws.MustCompileFrame(ws.NewBinaryFrame([]byte(strings.Repeat("early ", 100))))
		tr := memServer(t, func(nc net.Conn) {
			w := bufio.NewWriterSize(nc, 1<<16)
			ws.Upgrader{Header: ws.HandshakeHeaderString("Sec-WebSocket-Protocol: gridmux/1\r\n")}.Upgrade(struct {
				io.Reader
				io.Writer
			}{nc, w})
			for range 20 {
				w.Write(first)
			}
			w.Flush()
			io.Copy(io.Discard, nc)
		})
		c, err := tr.Dial(t.Context(), peerA)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseWithError(0, "")
		for n := range 20 {
			if p, err := c.ReadFrame(1000); err != nil || len(p) != 600 {
				t.Fatalf("frame %d: %d bytes, %v", n, len(p), err)
			}
		}
	})
}

func TestDialTimes(t *testing.T) {
	silent := func(nc net.Conn) { io.Copy(io.Discard, nc) }
	drip := func(nc net.Conn) {
		for _, b := range []byte("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000)) {
			if _, err := nc.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Second / 2)
		}
	}
	refuseSlowly := func(nc net.Conn) {
		io.WriteString(nc, "HTTP/1.1 403 Forbidden\r\nContent-Length: 1000\r\n\r\nbecause")
		io.Copy(io.Discard, nc)
	}
	for _, c := range []struct {
		name    string
		serve   func(net.Conn)
		tls     bool
		timeout time.Duration
		cancel  time.Duration
		phase   string
		is      error
		says    string
		took    time.Duration
	}{
		{name: "upgrade, own limit", serve: silent, phase: transport.PhaseUpgrade, is: os.ErrDeadlineExceeded, says: "within 5s", took: 5 * time.Second},
		{name: "TLS, own limit", serve: silent, tls: true, phase: transport.PhaseTLS, is: os.ErrDeadlineExceeded, says: "within 5s", took: 5 * time.Second},
		{name: "upgrade, dripping", serve: drip, phase: transport.PhaseUpgrade, is: os.ErrDeadlineExceeded, took: 5 * time.Second},
		{name: "upgrade, deadline", serve: silent, timeout: time.Second, phase: transport.PhaseUpgrade, is: context.DeadlineExceeded, took: time.Second},
		{name: "TLS, deadline", serve: silent, tls: true, timeout: time.Second, phase: transport.PhaseTLS, is: context.DeadlineExceeded, took: time.Second},
		{name: "upgrade, cancel", serve: silent, cancel: time.Second, phase: transport.PhaseUpgrade, is: context.Canceled, took: time.Second},
		{name: "TLS, cancel", serve: silent, tls: true, cancel: time.Second, phase: transport.PhaseTLS, is: context.Canceled, took: time.Second},
		{name: "refusal with a slow body", serve: refuseSlowly, phase: transport.PhaseUpgrade, says: `"403 Forbidden": "because"`, took: time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := memnet.Listen("a:1")
				var wg sync.WaitGroup
				defer wg.Wait()
				defer mem.Close()
				wg.Go(func() {
					nc, err := mem.Accept()
					if err == nil {
						defer nc.Close()
						c.serve(nc)
					}
				})
				o := websocket.Options{DialContext: mem.DialContext}
				if c.tls {
					o.TLS = &tls.Config{}
				}
				ctx := t.Context()
				if c.timeout != 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.timeout)
					defer cancel()
				}
				if c.cancel != 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					time.AfterFunc(c.cancel, cancel)
				}
				start := time.Now()
				_, err := websocket.New(o).Dial(ctx, peerA)
				wantDialError(t, err, c.phase, c.says)
				if c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("%v does not match %v", err, c.is)
				}
				if c.is == os.ErrDeadlineExceeded && errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the transport's own limit looks like the caller's: %v", err)
				}
				if got := time.Since(start); got != c.took {
					t.Errorf("took %v, want %v", got, c.took)
				}
			})
		})
	}
}

func TestDialPhaseDial(t *testing.T) {
	refused := errors.New("refused by test")
	tr := websocket.New(websocket.Options{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if network != "tcp" || addr != "a:1" {
			t.Errorf("DialContext(%q, %q)", network, addr)
		}
		return nil, refused
	}})
	_, err := tr.Dial(t.Context(), peerA)
	wantDialError(t, err, transport.PhaseDial, "refused by test", "websocket to a (a:1): dial: ")
	if !errors.Is(err, refused) {
		t.Errorf("%v does not match the dialler's error", err)
	}
	// A default dialler, nobody there, no port.
	_, err = websocket.New(websocket.Options{}).Dial(t.Context(), transport.Peer{Name: "x", Addr: "127.0.0.1"})
	wantDialError(t, err, transport.PhaseDial, "missing port")

	cause := errors.New("the program ends")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err = websocket.New(websocket.Options{}).Dial(ctx, peerA)
	wantDialError(t, err, transport.PhaseDial, "the program ends")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		t.Errorf("%v matches not both the context's error and its cause", err)
	}
}

func TestOptionErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		o    websocket.Options
		says string
	}{
		{"relative path", websocket.Options{Path: "grid"}, "Options.Path"},
		{"query", websocket.Options{Path: "/grid?x"}, "Options.Path"},
		{"two sources", websocket.Options{Mounted: true, Listener: memnet.Listen("a")}, "at most one"},
		{"upgrade header", websocket.Options{Header: http.Header{"sec-websocket-protocol": {"x"}}}, "Options.Header"},
		{"connection header", websocket.Options{Header: http.Header{"Connection": {"close"}}}, "Options.Header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := websocket.New(c.o)
			_, err := tr.Dial(t.Context(), peerA)
			wantDialError(t, err, transport.PhaseDial, c.says)
			if _, err := tr.Listen(t.Context(), "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Listen: %v", err)
			}
		})
	}
}

// TestUnixSocket: with DialContext and Listen the link may be anything.
func TestUnixSocket(t *testing.T) {
	path := t.TempDir() + "/s"
	l := listen(t, websocket.New(websocket.Options{Listen: func(ctx context.Context, _, addr string) (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, "unix", addr)
	}}), path)
	c, err := websocket.New(websocket.Options{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", addr)
	}}).Dial(t.Context(), transport.Peer{Name: "n", Addr: path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseWithError(0, "")
	exchange(t, c, accept(t, l))
}
