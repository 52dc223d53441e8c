package websocket_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// listen makes tr listen and ends that with the test.
func listen(t *testing.T, tr *websocket.Transport, addr string) transport.Listener {
	t.Helper()
	l, err := tr.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// accept returns the next connection of l and closes it with the test.
func accept(t *testing.T, l transport.Listener) transport.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := l.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseWithError(0, "") })
	return c
}

func send(c transport.Conn, payload string) error {
	return c.WriteFrames([][]byte{append(make([]byte, c.Info().Headroom), payload...)})
}

// exchange checks that the connection works both ways.
func exchange(t *testing.T, a, b transport.Conn) {
	t.Helper()
	for _, ends := range [][2]transport.Conn{{a, b}, {b, a}} {
		if err := send(ends[0], "hello"); err != nil {
			t.Fatal(err)
		}
		if p, err := ends[1].ReadFrame(100); err != nil || string(p) != "hello" {
			t.Fatalf("%q, %v", p, err)
		}
	}
}

// upgradeRequest returns a request that is accepted.
func upgradeRequest() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.Header = http.Header{
		"Upgrade":                {"websocket"},
		"Connection":             {"Upgrade"},
		"Sec-Websocket-Version":  {"13"},
		"Sec-Websocket-Key":      {"AAAAAAAAAAAAAAAAAAAAAA=="},
		"Sec-Websocket-Protocol": {websocket.Subprotocol},
	}
	return r
}

// TestRefusals expects each request that is not one of a gridmux node's to be
// refused with a status and a sentence that say why; among them whatever a web
// page sent (T19).
func TestRefusals(t *testing.T) {
	header := func(key, value string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Del(key)
			if value != "" {
				r.Header.Set(key, value)
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		status int
		says   string
		header string
	}{
		{"HTTP/2", func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 }, 426, "HTTP/1.1", ""},
		{"HTTP/1.0", func(r *http.Request) { r.Proto, r.ProtoMinor = "HTTP/1.0", 0 }, 400, "HTTP/1.1", ""},
		{"POST", func(r *http.Request) { r.Method = http.MethodPost }, 400, "GET", ""},
		{"CONNECT", func(r *http.Request) { r.Method = http.MethodConnect }, 400, "GET", ""},
		{"a page view", func(r *http.Request) { r.Header = http.Header{} }, 426, "websocket", "Upgrade"},
		{"another upgrade", header("Upgrade", "h2c"), 426, "websocket", "Upgrade"},
		{"connection", header("Connection", "keep-alive"), 400, "Connection", ""},
		{"version", header("Sec-Websocket-Version", "8"), 426, "13", "Sec-Websocket-Version"},
		{"no version", header("Sec-Websocket-Version", ""), 426, "13", "Sec-Websocket-Version"},
		{"no key", header("Sec-Websocket-Key", ""), 400, "Key", ""},
		{"no sub-protocol", header("Sec-Websocket-Protocol", ""), 400, `"gridmux/1"`, ""},
		{"other sub-protocol", header("Sec-Websocket-Protocol", "graphql-ws, gridmux/2"), 400, `offers "graphql-ws, gridmux/2"`, ""},
		{"origin", header("Origin", "https://evil.example"), 403, "Origin", ""},
		{"null origin", header("Origin", "null"), 403, "Origin", ""},
		{"empty origin", func(r *http.Request) { r.Header["Origin"] = []string{""} }, 403, "Origin", ""},
		{"hidden Hijacker", nil, 500, "http.Hijacker", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := websocket.New(websocket.Options{Mounted: true})
			listen(t, tr, "here")
			r := upgradeRequest()
			if c.change != nil {
				c.change(r)
			}
			// A recorder is no Hijacker.
			w := httptest.NewRecorder()
			tr.ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("status %d, body %q; want %d and %q", w.Code, w.Body, c.status, c.says)
			}
			if c.header != "" && w.Header().Get(c.header) == "" {
				t.Errorf("no header %s: %v", c.header, w.Header())
			}
		})
	}
}

func TestNotListening(t *testing.T) {
	tr := websocket.New(websocket.Options{Mounted: true})
	status := func() int {
		w := httptest.NewRecorder()
		tr.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		return w.Code
	}
	if got := status(); got != 503 {
		t.Errorf("before Listen: status %d, want 503", got)
	}
	l := listen(t, tr, "here")
	if got := status(); got != 426 {
		t.Errorf("while listening: status %d, want 426", got)
	}
	if got := l.Addr(); got.String() != "here" || got.Network() != "websocket" {
		t.Errorf("Addr() = %v", got)
	}
	l.Close()
	if got := status(); got != 503 {
		t.Errorf("after Close: status %d, want 503", got)
	}
	// A transport with a port of its own does not take part in ServeHTTP, or
	// its listener's promise of mutual TLS would not hold.
	tr = websocket.New(websocket.Options{})
	listen(t, tr, "127.0.0.1:0")
	if got := status(); got != 503 {
		t.Errorf("not mounted: status %d, want 503", got)
	}
}

// TestRefusalReachesTheDialler: what the server says stands in the error.
func TestRefusalReachesTheDialler(t *testing.T) {
	long := strings.Repeat("long ", 100)
	mounted := websocket.New(websocket.Options{Mounted: true})
	for _, c := range []struct {
		name    string
		handler http.Handler
		says    []string
	}{
		{"404", http.NotFoundHandler(), []string{`"404 Not Found"`, `"404 page not found\n"`}},
		{"no body", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) }), []string{`"502 Bad Gateway"`}},
		{"long body", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, "secret?\x1b"+long)
		}), []string{`"401 Unauthorized"`, fmt.Sprintf("%q", ("secret?\x1b" + long)[:256])}},
		{"chunked body", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, "one ")
			w.(http.Flusher).Flush()
			io.WriteString(w, "two")
		}), []string{`"500 Internal Server Error"`, `"one two"`}},
		{"not started", mounted, []string{`"503 Service Unavailable"`, "not listening"}},
		{"redirect", http.RedirectHandler("/elsewhere", http.StatusFound), []string{`"302 Found"`}},
		{"TLS expected", nil, []string{`"400 Bad Request"`, "HTTP request to an HTTPS server"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(c.handler)
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			if c.handler == nil {
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			peer := transport.Peer{Name: "n", Addr: srv.Listener.Addr().String()}
			_, err := websocket.New(websocket.Options{}).Dial(t.Context(), peer)
			wantDialError(t, err, transport.PhaseUpgrade, append(c.says, peer.Addr)...)
			if len(err.Error()) > 1500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

// TestMiddlewareThatHidesHijacker: with a real server, the explanation reaches
// the dialler; with Unwrap it works.
func TestMiddlewareThatHidesHijacker(t *testing.T) {
	tr := websocket.New(websocket.Options{Mounted: true})
	l := listen(t, tr, "here")
	dial := func(h http.Handler) (transport.Conn, error) {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return websocket.New(websocket.Options{}).Dial(t.Context(), transport.Peer{Addr: srv.Listener.Addr().String()})
	}
	_, err := dial(http.TimeoutHandler(tr, time.Minute, "late"))
	wantDialError(t, err, transport.PhaseUpgrade, `"500 Internal Server Error"`, "http.Hijacker", "timeoutWriter")

	c, err := dial(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tr.ServeHTTP(unwrapping{w}, r) }))
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseWithError(0, "")
	exchange(t, c, accept(t, l))
}

type unwrapping struct{ w http.ResponseWriter }

func (u unwrapping) Header() http.Header         { return u.w.Header() }
func (u unwrapping) Write(p []byte) (int, error) { return u.w.Write(p) }
func (u unwrapping) WriteHeader(status int)      { u.w.WriteHeader(status) }
func (u unwrapping) Unwrap() http.ResponseWriter { return u.w }

func TestCheckOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memnet.Listen("a:1")
		l := listen(t, websocket.New(websocket.Options{
			Listener:    mem,
			CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") == "https://console.example" },
		}), "")
		dial := func(origin string) (transport.Conn, error) {
			return websocket.New(websocket.Options{
				DialContext: mem.DialContext,
				Header:      http.Header{"Origin": {origin}},
			}).Dial(t.Context(), transport.Peer{Name: "a", Addr: "a:1"})
		}
		c, err := dial("https://console.example")
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, accept(t, l))
		c.CloseWithError(0, "")
		_, err = dial("https://evil.example")
		wantDialError(t, err, transport.PhaseUpgrade, "403")
	})
}

// TestHeader: what Options.Header says is sent, Host in its own way, and no
// extension is offered (T4).
func TestHeader(t *testing.T) {
	seen := make(chan *http.Request, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen <- r }))
	defer srv.Close()
	peer := transport.Peer{Addr: srv.Listener.Addr().String()}
	h := http.Header{"Authorization": {"Bearer x"}, "Host": {"grid.example"}}
	tr := websocket.New(websocket.Options{Header: h, Path: "/some/path"})
	h.Set("Authorization", "changed later")
	tr.Dial(t.Context(), peer)
	r := <-seen
	if r.Host != "grid.example" || r.Header.Get("Authorization") != "Bearer x" || r.URL.Path != "/some/path" {
		t.Errorf("host %q, path %q, header %v", r.Host, r.URL.Path, r.Header)
	}
	if _, offered := r.Header["Sec-Websocket-Extensions"]; offered {
		t.Error("an extension is offered")
	}

	websocket.New(websocket.Options{}).Dial(t.Context(), peer)
	if r := <-seen; r.Host != peer.Addr || r.URL.Path != websocket.DefaultPath {
		t.Errorf("host %q, path %q", r.Host, r.URL.Path)
	}
}

// TestRawUpgrade speaks the handshake by hand: extensions are not accepted, and
// a frame sent right behind the request is not lost (T4).
func TestRawUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memnet.Listen("a:1")
		l := listen(t, websocket.New(websocket.Options{Listener: mem}), "")
		nc, err := mem.DialContext(t.Context(), "tcp", "a:1")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		early := strings.Repeat("early ", 10)
		request := "GET /gridmux/v1 HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
			"Sec-WebSocket-Protocol: other, gridmux/1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
		first := ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame([]byte(early))))
		// Two whole frames and a half.
		nc.Write(append([]byte(request), slices.Concat(first, first, first[:20])...))
		br := bufio.NewReader(nc)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" ||
			resp.Header.Get("Sec-WebSocket-Protocol") != "gridmux/1" || len(resp.Header.Values("Sec-WebSocket-Protocol")) != 1 {
			t.Errorf("the answer: %s %v", resp.Status, resp.Header)
		}
		if _, accepted := resp.Header["Sec-Websocket-Extensions"]; accepted {
			t.Errorf("an extension was accepted: %v", resp.Header)
		}
		c := accept(t, l)
		nc.Write(first[20:])
		for range 3 {
			if p, err := c.ReadFrame(100); err != nil || string(p) != early {
				t.Fatalf("the early frame: %q, %v", p, err)
			}
		}
	})
}

// TestServerTimeouts expects time-outs of the surrounding server, which it set on
// the connection before it was taken over, to have no effect on it: neither
// while it idles for ten seconds and for a day, nor when the server is closed
// (D12).
func TestServerTimeouts(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS=%v", withTLS), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testServerTimeouts(t, withTLS) })
		})
	}
}

func testServerTimeouts(t *testing.T, withTLS bool) {
	mem := memnet.Listen("a:1")
	tr := websocket.New(websocket.Options{Mounted: true})
	l := listen(t, tr, "a:1")
	srv := &http.Server{
		Handler:     tr,
		ReadTimeout: time.Second, ReadHeaderTimeout: time.Second, WriteTimeout: time.Second, IdleTimeout: time.Second,
	}
	client := websocket.Options{DialContext: mem.DialContext}
	if withTLS {
		pki := newPKI(t)
		client.TLS, srv.TLSConfig = pki.node(t, "client"), pki.node(t, "a")
		go srv.ServeTLS(mem, "", "")
	} else {
		go srv.Serve(mem)
	}
	c, err := websocket.New(client).Dial(t.Context(), transport.Peer{Name: "a", Addr: "a:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseWithError(0, "")
	s := accept(t, l)
	for _, idle := range []time.Duration{0, 10 * time.Second, 24 * time.Hour} {
		// A read that waits all the time, and writes afterwards.
		got := make(chan string)
		go func() {
			p, err := s.ReadFrame(100)
			if err != nil {
				t.Errorf("ReadFrame during %v without traffic: %v", idle, err)
			}
			got <- string(p)
		}()
		time.Sleep(idle)
		if err := send(c, "late"); err != nil {
			t.Errorf("after %v without traffic: %v", idle, err)
		}
		if p := <-got; p != "late" {
			t.Errorf("after %v without traffic: %q", idle, p)
		}
		time.Sleep(idle)
		exchange(t, s, c)
	}
	srv.Close()
	exchange(t, s, c)
}
