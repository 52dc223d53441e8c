package interop

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// patience bounds whatever a test waits for.
const patience = 20 * time.Second

// pair is a connection whose ends are of different make.
type pair struct {
	ours   transport.Conn
	theirs *coder.Conn
}

// eachRole runs a test with the other library as client and as server.
func eachRole(t *testing.T, mode coder.CompressionMode, run func(t *testing.T, ctx context.Context, p pair)) {
	for name, connect := range map[string]func(*testing.T, context.Context, coder.CompressionMode) pair{
		"coder is the client": theyDial,
		"coder is the server": weDial,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			p := connect(t, ctx, mode)
			p.theirs.SetReadLimit(4 << 20)
			t.Cleanup(func() {
				p.ours.CloseWithError(0, "")
				p.theirs.CloseNow()
			})
			run(t, ctx, p)
		})
	}
}

// theyDial connects the other library to a listener of ours.
func theyDial(t *testing.T, ctx context.Context, mode coder.CompressionMode) pair {
	t.Helper()
	l, err := websocket.New(websocket.Options{}).Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, resp, err := coder.Dial(ctx, "ws://"+l.Addr().String()+websocket.DefaultPath, &coder.DialOptions{
		Subprotocols: []string{"something/else", websocket.Subprotocol}, CompressionMode: mode,
	})
	if err != nil {
		t.Fatalf("coder/websocket does not connect to our listener: %v", err)
	}
	if accepted := resp.Header.Get("Sec-WebSocket-Extensions"); accepted != "" {
		t.Errorf("our listener accepted the extension %q", accepted)
	}
	if got := c.Subprotocol(); got != websocket.Subprotocol {
		t.Errorf("our listener selected the sub-protocol %q, want %q", got, websocket.Subprotocol)
	}
	ours, err := l.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return pair{ours, c}
}

// weDial connects us to a server of the other library.
func weDial(t *testing.T, ctx context.Context, mode coder.CompressionMode) pair {
	t.Helper()
	accepted := make(chan *coder.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if offered := r.Header.Get("Sec-WebSocket-Extensions"); offered != "" {
			t.Errorf("we offer the extension %q", offered)
		}
		c, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{websocket.Subprotocol}, CompressionMode: mode})
		if err != nil {
			t.Errorf("coder/websocket does not accept us: %v", err)
			return
		}
		accepted <- c
	}))
	t.Cleanup(srv.Close)
	ours, err := websocket.New(websocket.Options{}).Dial(ctx, transport.Peer{Name: "coder", Addr: strings.TrimPrefix(srv.URL, "http://")})
	if err != nil {
		t.Fatalf("we do not connect to a server with coder/websocket: %v", err)
	}
	theirs := <-accepted
	if got := theirs.Subprotocol(); got != websocket.Subprotocol {
		t.Errorf("coder/websocket selected the sub-protocol %q, want %q", got, websocket.Subprotocol)
	}
	return pair{ours, theirs}
}

// payload returns n bytes that are like no other.
func payload(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// send writes frames of ours in one batch.
func send(c transport.Conn, frames ...[]byte) error {
	batch := make([][]byte, len(frames))
	for i, f := range frames {
		batch[i] = append(make([]byte, c.Info().Headroom), f...)
	}
	return c.WriteFrames(batch)
}
