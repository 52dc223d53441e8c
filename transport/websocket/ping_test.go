package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/internal/memnet"
)

func TestPingIsAnswered(t *testing.T) {
	for _, client := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, far := rawPair(t, client)
			got := make(chan string)
			go func() {
				for {
					p, err := c.ReadFrame(100)
					if err != nil {
						close(got)
						return
					}
					got <- string(p)
				}
			}()
			encode := masked
			if client {
				encode = plain
			}
			for _, payload := range []string{"", "x", strings.Repeat("p", 125)} {
				far.Write(encode(ws.NewPingFrame([]byte(payload))))
				f, err := readWire(far)
				if err != nil {
					t.Fatal(err)
				}
				if f.Header.Masked != client || !f.Header.Fin || f.Header.OpCode != ws.OpPong {
					t.Errorf("the answer to a ping: %+v", f.Header)
				}
				if f.Header.Masked {
					f = ws.UnmaskFrameInPlace(f)
				}
				if string(f.Payload) != payload {
					t.Errorf("the answer to %q is %q", payload, f.Payload)
				}
			}
			// Pongs are ignored, asked for or not.
			far.Write(encode(ws.NewPongFrame([]byte("unasked"))))
			far.Write(encode(ws.NewBinaryFrame([]byte("data"))))
			if p := <-got; p != "data" {
				t.Errorf("data behind control frames: %q", p)
			}
			c.CloseWithError(0, "")
			<-got
		})
	}
}

// TestPingFlood: pings whose answers find no room hold up neither the reader nor
// anything else, and only the last is answered when there is room again.
func TestPingFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPair(t, false, memnet.WithBuffer(1000))
		filler := strings.Repeat("f", 996)
		if err := c.WriteFrames([][]byte{frame(filler)}); err != nil {
			t.Fatal(err)
		}
		const pings = 20_000
		go func() {
			for n := range pings {
				far.Write(masked(ws.NewPingFrame(fmt.Append(nil, "ping ", n))))
			}
			far.Write(masked(ws.NewBinaryFrame([]byte("data"))))
		}()
		if p, err := c.ReadFrame(100); err != nil || string(p) != "data" {
			t.Fatalf("data behind %d pings: %q, %v", pings, p, err)
		}
		if f, err := readWire(far); err != nil || string(f.Payload) != filler {
			t.Fatalf("the frame before: %v", err)
		}
		var last string
		answers := 0
		far.SetReadDeadline(time.Now().Add(time.Second))
		for {
			f, err := readWire(far)
			if err != nil {
				break
			}
			last = string(f.Payload)
			answers++
		}
		if want := fmt.Sprint("ping ", pings-1); last != want {
			t.Errorf("the last answer is %q, want %q", last, want)
		}
		if answers > 2 {
			t.Errorf("%d answers after the link was blocked all the time, want 1, or 2 with one that was half written", answers)
		}
	})
}

// TestPongBesideWrites: answers never land inside a frame.
func TestPongBesideWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPair(t, true, memnet.WithBuffer(777))
		go c.ReadFrame(1)
		go func() {
			for n := range 300 {
				far.Write(plain(ws.NewPingFrame(fmt.Append(nil, n))))
			}
		}()
		payload := strings.Repeat("payload ", 500)
		go func() {
			for range 100 {
				if err := c.WriteFrames([][]byte{frame(payload), frame("short")}); err != nil {
					t.Errorf("WriteFrames: %v", err)
				}
			}
		}()
		for data := 0; data < 200; {
			f, err := readWire(far)
			if err != nil {
				t.Fatal(err)
			}
			f = ws.UnmaskFrameInPlace(f)
			if f.Header.OpCode == ws.OpPong {
				continue
			}
			want := payload
			if data%2 == 1 {
				want = "short"
			}
			if string(f.Payload) != want {
				t.Fatalf("frame %d is broken: %d bytes", data, len(f.Payload))
			}
			data++
		}
		c.CloseWithError(0, "")
	})
}

func TestControlFramesAreBounded(t *testing.T) {
	for _, c := range []struct {
		name  string
		pause time.Duration
		data  bool
		ok    bool
	}{
		{name: "at once"},
		{name: "in more than a second", pause: 1100 * time.Millisecond, ok: true},
		{name: "with data between", data: true, ok: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := rawPair(t, false)
				half := bytes.Repeat(masked(ws.NewPongFrame(nil)), maxControls/2+1)
				data := masked(ws.NewBinaryFrame(nil))
				go func() {
					far.Write(half)
					time.Sleep(c.pause)
					if c.data {
						far.Write(data)
					}
					far.Write(half)
					far.Write(data)
				}()
				_, err := conn.ReadFrame(1)
				if err == nil && c.data {
					_, err = conn.ReadFrame(1)
				}
				if c.ok && err != nil {
					t.Errorf("ReadFrame: %v", err)
				}
				if v := asViolation(err); !c.ok && (v == nil || v.code != ws.StatusPolicyViolation) {
					t.Errorf("ReadFrame: %v, want a violation with 1008", err)
				}
				// Lets the writer above end.
				conn.CloseWithError(0, "")
			})
		})
	}
}

// TestNoPongAfterClose: the goroutine that answers ends with the connection,
// which the bubble checks, and writes nothing behind the close frame.
func TestNoPongAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPair(t, false, memnet.WithBuffer(64))
		go func() {
			for {
				if _, err := c.ReadFrame(1); err != nil {
					return
				}
			}
		}()
		for range 5 {
			far.Write(masked(ws.NewPingFrame([]byte(strings.Repeat("p", 50)))))
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			time.Sleep(time.Millisecond)
			io.Copy(io.Discard, far)
		})
		c.CloseWithError(0, "")
		if err := c.WriteFrames([][]byte{frame("x")}); !errors.Is(err, errClosed) {
			t.Errorf("WriteFrames: %v", err)
		}
	})
}
