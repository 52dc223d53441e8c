package websocket_test

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport/websocket"
)

// logBook collects what is logged; it may be written to concurrently.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBook) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.buf.String(), "\n"), "\n")
}

// TestStrangersCannotFloodTheLog expects ten lines a second of what strangers
// cause, however many they are, and a word about the rest (T20).
func TestStrangersCannotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memnet.Listen("a:1")
		var book logBook
		listen(t, websocket.New(websocket.Options{
			Listener: mem, TLS: newPKI(t).node(t, "a"), ErrorLog: log.New(&book, "", 0),
		}), "")
		flood := func(n int) {
			for range n {
				nc, err := mem.DialContext(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(nc, "no TLS at all\x1b[2J\n")
				nc.Close()
			}
			synctest.Wait()
		}
		const many = 5000
		flood(many)
		if lines := book.lines(); len(lines) != 10 || !strings.Contains(lines[0], "TLS handshake error") {
			t.Errorf("%d bad clients at once left %d lines, want 10: %q", many, len(lines), lines[0])
		}
		time.Sleep(time.Second)
		flood(1)
		lines := book.lines()
		if len(lines) != 12 || lines[10] != "4990 more messages like the next one were left out" {
			t.Errorf("a second later: %d lines, the eleventh is %q", len(lines), lines[min(10, len(lines)-1)])
		}
		for _, line := range lines {
			if strings.ContainsAny(line, "\x1b\r") {
				t.Errorf("raw bytes of a stranger: %q", line)
			}
		}
	})
}

// TestLogLinesAreTame expects a message with a stranger's words to be cut, and
// control characters to be gone (T20).
func TestLogLinesAreTame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memnet.Listen("a:1")
		var book logBook
		listen(t, websocket.New(websocket.Options{
			Listener: mem, ErrorLog: log.New(&book, "", 0),
			// A callback that brings what the client said into the log.
			CheckOrigin: func(r *http.Request) bool { panic(r.Header.Get("Origin")) },
		}), "")
		nc, err := mem.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		r := upgradeRequest()
		r.URL.Path = websocket.DefaultPath
		// Bytes from 0x80 on are legal in a header.
		r.Header.Set("Origin", "\x9b2Jevil\xff\t"+strings.Repeat("x", 10_000))
		if err := r.Write(nc); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, nc)
		synctest.Wait()
		all := strings.Join(book.lines(), "\n")
		if !strings.Contains(all, "panic serving") || !strings.Contains(all, "?2Jevil?") {
			t.Errorf("the log does not show the panic: %.100q", all)
		}
		if !utf8.ValidString(all) || len(all) > 4200 {
			t.Errorf("%d bytes were logged, want at most 4,200 and none that are raw: %.200q", len(all), all)
		}
	})
}

// blockedWriter blocks whoever writes until gate is closed.
type blockedWriter struct {
	in   chan struct{} // has room for one, and gets it when somebody is blocked
	gate chan struct{}
}

func (b *blockedWriter) Write(p []byte) (int, error) {
	select {
	case b.in <- struct{}{}:
	default:
	}
	<-b.gate
	return len(p), nil
}

// outOfFiles is a listener whose first Accept fails as one without file descriptors
// does.
type outOfFiles struct {
	net.Listener
	once sync.Once
}

func (l *outOfFiles) Accept() (_ net.Conn, err error) {
	l.once.Do(func() { err = temporaryError{errors.New("too many open files")} })
	if err != nil {
		return nil, err
	}
	return l.Listener.Accept()
}

type temporaryError struct{ error }

func (temporaryError) Timeout() bool   { return false }
func (temporaryError) Temporary() bool { return true }

// TestBlockedLoggerHoldsNobodyUp expects a logger that blocks on what the server has to
// say, of each kind, to keep neither others out nor Close of the listener from
// returning.
func TestBlockedLoggerHoldsNobodyUp(t *testing.T) {
	for name, stranger := range map[string]func(nc net.Conn){
		"handshake": func(nc net.Conn) { io.WriteString(nc, "no TLS at all\n") },
		"panic": func(nc net.Conn) {
			r := upgradeRequest()
			r.URL.Path = websocket.DefaultPath
			r.Header.Set("Origin", "evil")
			r.Write(nc)
		},
		"accept": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := memnet.Listen("a:1")
				blocked := &blockedWriter{make(chan struct{}, 1), make(chan struct{})}
				defer close(blocked.gate)
				o := websocket.Options{
					Listener: mem, ErrorLog: log.New(blocked, "", 0),
					CheckOrigin: func(*http.Request) bool { panic("a bug") },
				}
				client := websocket.Options{DialContext: mem.DialContext}
				switch name {
				case "handshake":
					pki := newPKI(t)
					o.TLS, client.TLS = pki.node(t, "a"), pki.node(t, "b")
				case "accept":
					o.Listener = &outOfFiles{Listener: mem}
				}
				l := listen(t, websocket.New(o), "")
				if stranger != nil {
					nc, err := mem.DialContext(t.Context(), "", "")
					if err != nil {
						t.Fatal(err)
					}
					defer nc.Close()
					stranger(nc)
				}
				<-blocked.in
				c, err := websocket.New(client).Dial(t.Context(), peerA)
				if err != nil {
					t.Errorf("while the logger blocks nobody gets in: %v", err)
				} else {
					defer c.CloseWithError(0, "")
					exchange(t, c, accept(t, l))
				}
				closed := make(chan error, 1)
				go func() { closed <- l.Close() }()
				select {
				case err := <-closed:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(time.Second):
					t.Error("Close of the listener waits for the logger")
				}
			})
		})
	}
}
