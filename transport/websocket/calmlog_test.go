package websocket

import (
	"bytes"
	"log"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// blockedBook collects what is logged, and blocks whoever logs until gate is closed.
type blockedBook struct {
	gate chan struct{}
	bytes.Buffer
}

func (b *blockedBook) Write(p []byte) (int, error) {
	<-b.gate
	return b.Buffer.Write(p)
}

// TestBlockedLoggerPilesNothingUp expects one goroutine, and ten lines of a kind that
// wait, to be what strangers leave behind with a logger that blocks, however long they
// go on; and when it goes on, a panic to be told with its stack, and the others to be
// counted.
func TestBlockedLoggerPilesNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := blockedBook{gate: make(chan struct{})}
		server := newErrorLog(log.New(&book, "", 0))
		unblock := sync.OnceFunc(func() { close(book.gate) })
		defer unblock()
		const bad, stack = "http: TLS handshake error from a:1: bad", panicKind + " a:1: a bug\ngoroutine 7 [running]:\n\tmain.go:1"
		before := runtime.NumGoroutine()
		for second := range 60 {
			for n := range 20 {
				server.Print(bad)
				if second == 0 && n == 0 {
					synctest.Wait() // until the logger has the first one
				}
			}
			if second == 30 {
				server.Print(stack)
			}
			if more := runtime.NumGoroutine() - before; more > 1 {
				t.Fatalf("after %d strangers there are %d goroutines more", (second+1)*20, more)
			}
			time.Sleep(time.Second)
		}
		unblock()
		synctest.Wait()
		server.Print(bad)
		synctest.Wait()
		// Ten in the first second, of which the logger had one, so that there was room
		// for one more in the next.
		want := append(slices.Repeat([]string{bad}, 10), "10 more messages like the next one were left out", bad, stack,
			"1179 more messages like the next one were left out", bad, "")
		if got := book.String(); got != strings.Join(want, "\n") {
			t.Errorf("the log says\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	})
}
