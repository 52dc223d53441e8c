//go:build external && linux

package link_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// BenchmarkTCP says how much one TCP connection carries over a link that is no
// bottleneck but the machine, and how much of it came late.
func BenchmarkTCP(b *testing.B) {
	for _, text := range []string{"rtt=0s", "rtt=2ms", "rtt=2ms,mtu=9000", "rtt=2ms,rate=1gbit,queue=5ms"} {
		b.Run(text, func(b *testing.B) {
			c, err := link.Parse(text)
			if err != nil {
				b.Fatal(err)
			}
			l, err := link.New(1, c)
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			ln, err := l.A().Listen(b.Context(), "tcp", l.A().Addr().String()+":0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			go send(ln)
			conn, err := l.B().Dial(b.Context(), "tcp", ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()

			buf := make([]byte, 256<<10)
			b.SetBytes(int64(len(buf)))
			began := time.Now()
			for b.Loop() {
				if _, err := io.ReadFull(conn, buf); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*float64(len(buf))*8/1e6/time.Since(began).Seconds(), "Mbit/s")
			s, err := l.Stats(link.AToB)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(100*float64(s.Late)/float64(s.Delivered), "%late")
			b.ReportMetric(float64(s.Overrun), "overrun")
		})
	}
}

// send sends to who connects for as long as it reads.
func send(ln net.Listener) {
	c, err := ln.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	for data := make([]byte, 256<<10); ; {
		if _, err := c.Write(data); err != nil {
			return
		}
	}
}
