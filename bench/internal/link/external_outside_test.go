//go:build external && linux

package link_test

import (
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// outside is a program of another language that works with a socket which was made on an end of
// the link.
func outside(t *testing.T, socket interface{ File() (*os.File, error) }, args ...string) *exec.Cmd {
	t.Helper()
	file, err := socket.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.CommandContext(t.Context(), "perl", append([]string{filepath.Join("testdata", "outside.pl")}, args...)...)
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stderr = os.Stderr
	cmd.Stdout = new(strings.Builder)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// said waits for a program and reads what it printed.
func said(t *testing.T, cmd *exec.Cmd, values ...any) {
	t.Helper()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(cmd.Stdout.(*strings.Builder).String(), values...); err != nil {
		t.Fatalf("it printed %q: %v", cmd.Stdout, err)
	}
}

// outsidePair starts a program on end A that does something with a listener, or a socket, and one
// on end B that does something with what is connected to it.
func outsidePair(t *testing.T, l *link.Link, network string, there, here []string) (a, b *exec.Cmd) {
	t.Helper()
	if network == "tcp" {
		ln := listen(t, l, network)
		a = outside(t, ln.(*net.TCPListener), there...)
		c := dial(t, l, network, at(t, l.A().Addr(), ln.Addr()))
		b = outside(t, c.(*net.TCPConn), here...)
		c.Close() // so that it ends with the program
		ln.Close()
		return a, b
	}
	pc := listenUDP(t, l)
	a = outside(t, pc.(*net.UDPConn), there...)
	c := dial(t, l, network, at(t, l.A().Addr(), pc.LocalAddr()))
	return a, outside(t, c.(*net.UDPConn), here...)
}

// TestOutsideTruth expects programs that share nothing with this project to see the round-trip time
// and the rate of a link within 5 %, and its loss within the 99 % interval. It is not parallel: beside
// other tests its times would not be its own.
func TestOutsideTruth(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		for _, rtt := range []time.Duration{5 * time.Millisecond, 40 * time.Millisecond} {
			t.Run(fmt.Sprintf("rtt/%s/%v", network, rtt), func(t *testing.T) {
				l := newLink(t, link.Conditions{RTT: rtt})
				_, ask := outsidePair(t, l, network, []string{"echo", network}, []string{"ask", network, fmt.Sprint(int(time.Second / rtt))})
				var least float64
				said(t, ask, &least)
				if got := time.Duration(least * 1e9); (got - rtt).Abs() > rtt/20 {
					t.Errorf("an echo takes %v, want %v", got, rtt)
				}
			})
		}
		t.Run("rate/"+network, func(t *testing.T) {
			const rate, count, size = 8e6, 2000, 1472
			l := newLink(t, link.Conditions{RTT: 10 * time.Millisecond, Rate: rate, Queue: 5 * time.Second})
			take, send := outsidePair(t, l, network, []string{"take", network}, []string{"send", network, fmt.Sprint(count), fmt.Sprint(size), "0", "0"})
			said(t, send)
			var reads int
			var octets float64
			said(t, take, &reads, &octets)
			// Of 1500 octets 28 are of the headers of IP and UDP, of those of TCP with its timestamp 52.
			want := rate * 1472 / 1500
			if network == "tcp" {
				want = rate * 1448 / 1500
			}
			if got := 8 * octets; math.Abs(got-want) > want/20 {
				t.Errorf("%.2f Mbit/s of payload, want %.2f", got/1e6, want/1e6)
			}
		})
	}
	t.Run("loss/udp", func(t *testing.T) {
		const loss, count = 0.02, 4000
		l := newLink(t, link.Conditions{RTT: 2 * time.Millisecond, Loss: loss})
		// In batches that fit in the buffer of a socket, or a reader that waits for a processor loses some too.
		take, send := outsidePair(t, l, "udp", []string{"take", "udp"}, []string{"send", "udp", fmt.Sprint(count), "64", "100", "0.02"})
		said(t, send)
		var reads int
		var octets float64
		said(t, take, &reads, &octets)
		if lost, margin := float64(count-reads), 2.576*math.Sqrt(count*loss*(1-loss)); math.Abs(lost-count*loss) > margin {
			t.Errorf("%.0f of %d are lost, want %.0f±%.0f", lost, count, count*loss, margin)
		}
	})
}
