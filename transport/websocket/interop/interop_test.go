package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	coder "github.com/coder/websocket"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// sizes are around every change of the form of a frame's length.
var sizes = []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 20, 0, 3}

// TestFrames expects frames of all sizes to arrive both ways as one binary
// message each, alone and in a batch, and that with compression allowed on the
// other side, which we neither offer nor accept (T4).
func TestFrames(t *testing.T) {
	for _, mode := range []coder.CompressionMode{coder.CompressionDisabled, coder.CompressionContextTakeover, coder.CompressionNoContextTakeover} {
		t.Run(fmt.Sprintf("compression mode %d", mode), func(t *testing.T) {
			eachRole(t, mode, func(t *testing.T, ctx context.Context, p pair) {
				var all [][]byte
				for n, size := range sizes {
					all = append(all, payload(uint64(n), size))
				}
				var wg sync.WaitGroup
				defer wg.Wait()
				wg.Go(func() {
					for _, f := range all {
						if err := send(p.ours, f); err != nil {
							t.Errorf("we send %d bytes: %v", len(f), err)
						}
					}
					if err := send(p.ours, all...); err != nil {
						t.Errorf("we send a batch: %v", err)
					}
				})
				wg.Go(func() {
					for _, f := range append(all, all...) {
						if err := p.theirs.Write(ctx, coder.MessageBinary, f); err != nil {
							t.Errorf("they send %d bytes: %v", len(f), err)
						}
					}
				})
				wg.Go(func() {
					for n, want := range append(all, all...) {
						kind, got, err := p.theirs.Read(ctx)
						if err != nil || kind != coder.MessageBinary || !bytes.Equal(got, want) {
							t.Errorf("they read message %d of %d bytes: %v, %d bytes, %v", n, len(want), kind, len(got), err)
							return
						}
					}
				})
				for n, want := range append(all, all...) {
					if got, err := p.ours.ReadFrame(1 << 20); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("we read message %d of %d bytes: %d bytes, %v", n, len(want), len(got), err)
					}
				}
			})
		})
	}
}

// TestFragments expects messages that the other side sends in fragments to
// arrive whole.
func TestFragments(t *testing.T) {
	eachRole(t, coder.CompressionDisabled, func(t *testing.T, ctx context.Context, p pair) {
		messages := [][]int{{0}, {1, 0, 2}, {125, 126}, {65536, 1, 65535}, {300_000, 0, 700_000}}
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			for n, parts := range messages {
				w, err := p.theirs.Writer(ctx, coder.MessageBinary)
				if err != nil {
					t.Errorf("a writer for message %d: %v", n, err)
					return
				}
				for k, size := range parts {
					if _, err := w.Write(payload(uint64(k), size)); err != nil {
						t.Errorf("message %d, part %d: %v", n, k, err)
					}
				}
				if err := w.Close(); err != nil {
					t.Errorf("message %d: %v", n, err)
				}
			}
		})
		for n, parts := range messages {
			var want []byte
			for k, size := range parts {
				want = append(want, payload(uint64(k), size)...)
			}
			if got, err := p.ours.ReadFrame(1 << 20); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("message %d of %d bytes in %d parts: %d bytes, %v", n, len(want), len(parts), len(got), err)
			}
		}
	})
}

// TestPings expects pings of the other side to be answered whichever side it is,
// beside messages. We send none.
func TestPings(t *testing.T) {
	eachRole(t, coder.CompressionDisabled, func(t *testing.T, ctx context.Context, p pair) {
		var wg sync.WaitGroup
		const messages = 100
		wg.Go(func() {
			for range messages {
				if got, err := p.ours.ReadFrame(100); err != nil || string(got) != "between" {
					t.Errorf("a message beside pings: %q, %v", got, err)
					return
				}
			}
			// Pings are answered while somebody reads.
			if _, err := p.ours.ReadFrame(100); !errors.Is(err, net.ErrClosed) {
				t.Errorf("at the end: %v", err)
			}
		})
		pongs := p.theirs.CloseRead(ctx) // reads, so that pongs are seen
		for range messages {
			if err := p.theirs.Ping(ctx); err != nil {
				t.Fatalf("a ping was not answered: %v", err)
			}
			if err := p.theirs.Write(ctx, coder.MessageBinary, []byte("between")); err != nil {
				t.Fatalf("a message beside pings: %v", err)
			}
		}
		if err := p.theirs.Ping(ctx); err != nil {
			t.Fatalf("a ping was not answered: %v", err)
		}
		if pongs.Err() != nil {
			t.Errorf("the other side ended: %v", context.Cause(pongs))
		}
		p.ours.CloseWithError(0, "")
		wg.Wait()
	})
}

// codes are the codes of the transport interface and what they are on the wire.
var codes = map[uint32]coder.StatusCode{
	0: coder.StatusNormalClosure, 1: 4001, 33: 4033, 999: 4999,
	1001: coder.StatusGoingAway, 1002: coder.StatusProtocolError, 1009: coder.StatusMessageTooBig, 3000: 3000,
}

// TestCloseCodes expects code and reason to arrive both ways, behind the
// messages before.
func TestCloseCodes(t *testing.T) {
	for code, status := range codes {
		for _, reason := range []string{"", "why, naïve?", strings.Repeat("r", transport.MaxReason)} {
			t.Run(fmt.Sprintf("%d with %d bytes", code, len(reason)), func(t *testing.T) {
				eachRole(t, coder.CompressionDisabled, func(t *testing.T, ctx context.Context, p pair) {
					if err := send(p.ours, []byte("last")); err != nil {
						t.Fatal(err)
					}
					p.ours.CloseWithError(code, reason)
					if _, got, err := p.theirs.Read(ctx); err != nil || string(got) != "last" {
						t.Errorf("the message before the close: %q, %v", got, err)
					}
					_, _, err := p.theirs.Read(ctx)
					ce, ok := errors.AsType[coder.CloseError](err)
					if !ok || ce.Code != status || ce.Reason != reason {
						t.Errorf("we close with %d: they see %v, want status %d and the reason", code, err, status)
					}
				})
				eachRole(t, coder.CompressionDisabled, func(t *testing.T, ctx context.Context, p pair) {
					if err := p.theirs.Write(ctx, coder.MessageBinary, []byte("last")); err != nil {
						t.Fatal(err)
					}
					closed := make(chan error, 1)
					go func() { closed <- p.theirs.Close(status, reason) }()
					if got, err := p.ours.ReadFrame(100); err != nil || string(got) != "last" {
						t.Errorf("the message before the close: %q, %v", got, err)
					}
					_, err := p.ours.ReadFrame(100)
					ce, ok := errors.AsType[*transport.CloseError](err)
					if !ok || ce.Code != code || ce.Reason != reason {
						t.Errorf("they close with %d: we see %v, want code %d and the reason", status, err, code)
					}
					p.ours.CloseWithError(code, "")
					// nil says that our close frame came in answer, with the same
					// status.
					if err := <-closed; err != nil {
						t.Errorf("their end of the closing handshake: %v", err)
					}
				})
			})
		}
	}
}

// TestBreaches expects the other side to be told, with the code of websocket,
// what it did that we do not take.
func TestBreaches(t *testing.T) {
	for name, c := range map[string]struct {
		kind   coder.MessageType
		size   int
		status coder.StatusCode
	}{
		"text":           {coder.MessageText, 5, coder.StatusUnsupportedData},
		"over the limit": {coder.MessageBinary, 1001, coder.StatusMessageTooBig},
	} {
		t.Run(name, func(t *testing.T) {
			eachRole(t, coder.CompressionDisabled, func(t *testing.T, ctx context.Context, p pair) {
				if err := p.theirs.Write(ctx, c.kind, bytes.Repeat([]byte("x"), c.size)); err != nil {
					t.Fatal(err)
				}
				if got, err := p.ours.ReadFrame(1000); err == nil {
					t.Errorf("we read %d bytes, want an error", len(got))
				}
				p.ours.CloseWithError(1, "the caller's reason")
				_, _, err := p.theirs.Read(ctx)
				if got := coder.CloseStatus(err); got != c.status {
					t.Errorf("they see %v, want status %d", err, c.status)
				}
			})
		})
	}
}

// TestWrongSubprotocol expects both sides to refuse a connection whose other end
// does not speak gridmux.
func TestWrongSubprotocol(t *testing.T) {
	l, err := websocket.New(websocket.Options{}).Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, resp, err := coder.Dial(t.Context(), "ws://"+l.Addr().String()+websocket.DefaultPath, &coder.DialOptions{Subprotocols: []string{"chat"}})
	if err == nil {
		c.CloseNow()
		t.Fatal("our listener took a client that speaks something else")
	}
	if resp == nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("our listener answered %v, want status 400", resp)
	}

	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"chat"}})
		if err == nil {
			c.CloseRead(t.Context())
		}
	}))
	defer srv.Close()
	ours, err := websocket.New(websocket.Options{}).Dial(t.Context(), transport.Peer{Name: "coder", Addr: strings.TrimPrefix(srv.URL, "http://")})
	if err == nil {
		ours.CloseWithError(0, "")
		t.Fatal("we took a server that speaks something else")
	}
	if !strings.Contains(err.Error(), `did not select the sub-protocol "gridmux/1"`) {
		t.Errorf("the error does not say that the sub-protocol is missing: %v", err)
	}
}
