package main

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// testLine is a line whose times are those of a bubble.
func testLine(c link.Conditions) *line {
	return &line{conditions: c, newWaker: func() waker { return timers{} }, random: rand.New(rand.NewPCG(1, 0))}
}

// TestShapedConn expects what is written to arrive after half of the round-trip time and at the rate,
// in its order and whole, also what was written right before the connection was closed.
func TestShapedConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := newShapedConn(a, testLine(link.Conditions{RTT: 40 * time.Millisecond, Jitter: 10 * time.Millisecond, Rate: 8e6}))
		began := time.Now()
		var wrote time.Duration
		message := bytes.Repeat([]byte("0123456789"), 1000)
		go func() {
			for range 100 {
				if n, err := c.Write(message); n != len(message) || err != nil {
					t.Errorf("wrote %d, %v", n, err)
				}
			}
			wrote = time.Since(began)
			c.Close()
		}()
		buf := make([]byte, len(message))
		if _, err := io.ReadFull(b, buf); err != nil {
			t.Fatal(err)
		}
		// 10 kB take 10 ms, and half of the round trip 20 ms, give or take 5 ms.
		if took := time.Since(began); took < 25*time.Millisecond || took > 35*time.Millisecond {
			t.Errorf("the first message took %v", took)
		}
		rest, err := io.ReadAll(b)
		if want := bytes.Repeat(message, 99); err != nil || !bytes.Equal(rest, want) {
			t.Errorf("%d bytes arrived, %v, want %d and the end", len(rest), err, len(want))
		}
		// 1 MB at 1 MB/s. The writer has not run ahead by more than the queue.
		if took := time.Since(began); math.Abs(took.Seconds()-1.02) > 0.01 || wrote < 850*time.Millisecond || wrote > time.Second {
			t.Errorf("all took %v, of which %v to write", took, wrote)
		}
		if _, err := c.Write(message); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
		b.Close()
	})
}

// packets is a socket that tells what was sent.
type packets struct {
	net.PacketConn

	sent chan time.Time
}

func (p *packets) WriteTo([]byte, net.Addr) (int, error) {
	p.sent <- time.Now()
	return 0, nil
}

func (p *packets) Close() error { return nil }

// TestShapedPackets expects datagrams to be delayed, those that find the queue full to be dropped, and
// all of them where UDP is blocked.
func TestShapedPackets(t *testing.T) {
	for _, blocked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := &packets{sent: make(chan time.Time, 1000)}
			c := newShapedPackets(p, testLine(link.Conditions{RTT: 20 * time.Millisecond, Rate: 8e6}), blocked)
			began := time.Now()
			for range 300 {
				if n, err := c.WriteTo(make([]byte, 1000), nil); n != 1000 || err != nil {
					t.Errorf("wrote %d, %v", n, err)
				}
			}
			time.Sleep(time.Second)
			c.Close()
			synctest.Wait()
			// Each takes 1 ms, and those wait that are within 100 ms.
			want := 101
			if blocked {
				want = 0
			}
			if len(p.sent) != want {
				t.Errorf("%d datagrams arrived, want %d", len(p.sent), want)
			}
			for i := range len(p.sent) {
				if took := (<-p.sent).Sub(began); took != 10*time.Millisecond+time.Duration(i+1)*time.Millisecond {
					t.Errorf("datagram %d took %v", i, took)
				}
			}
		})
	}
}

// TestHonest expects conditions that cannot be shown without packets to be refused by name.
func TestHonest(t *testing.T) {
	for settings, want := range map[string]string{
		"rtt=40ms,jitter=5ms,rate=100mbit": "", "block=udp": "", "lan": "", "loss=1%": "loss: ", "wan": "loss: ", "reorder=1%": "reorder: ",
		"mtu=1400": "mtu: ", "queue=1s": "queue: ",
	} {
		c, err := link.Parse(settings)
		if err != nil {
			t.Fatal(err)
		}
		if err := honest(c); (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %q", settings, err, want)
		}
		if _, err := openShaped(1, c); (err == nil) != (want == "") {
			t.Errorf("%s: %v", settings, err)
		}
	}
}

// TestShaped runs the workload over shaped links as a user would: no call is faster than the link,
// over TCP and UDP alike, and the output says what the links are.
func TestShaped(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	p := program{kinds(), func(uint64, link.Conditions) (emulated, error) { return nil, link.ErrUnavailable }, &stdout, &stderr}
	args := []string{"-no-demo", "-workloads", "links", "-shaping", "-rtt", "20ms", "-link-time", "500ms", "-link-rate", "100", "-out=", "-threshold", "p50<19ms"}
	// The threshold is not kept: every call takes longer.
	if code := p.run(t.Context(), args); code != exitFailed || strings.Count(stderr.String(), "threshold p50<19ms: p50 is ") != 2 {
		t.Errorf("exit code %d, and %s", code, &stderr)
	}
	checkPlain(t, stdout.String())
	if out := strings.ReplaceAll(stdout.String(), "\n", " "); !strings.Contains(out, "shaped by this process") || strings.Contains(out, "FAILED") {
		t.Errorf("the output is\n%s", &stdout)
	}
}
