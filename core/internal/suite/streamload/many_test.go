package streamload_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestManyShortStreams opens ten thousand streams before any of them is read, in
// both forms, with room for two messages each, so that all handlers wait in the
// middle. Each stream then yields exactly the messages that were ordered, in
// order and undamaged, and ends as its handler did (D4).
func TestManyShortStreams(t *testing.T) {
	n := lab.Scale(10_000, 2500, 10_000)
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, handleStream("short", shortStream, core.WithCapacity(1, 2)), lab.Configure(func(cfg *core.Config) {
			cfg.StreamWindow, cfg.MaxStreamBuffers = 2<<10, 2*n*2<<10
			cfg.MaxHandlers, cfg.MaxHandlersTotal = n, n
		}))
		raw, channels := make([]*core.RawStream, n), make([]*core.Stream, n)
		for i := range n {
			payload := binary.LittleEndian.AppendUint32(nil, uint32(i))
			var err error
			if i%8 == 0 {
				channels[i], err = c.Conn(0, 1).NewStream(t.Context(), "short", payload)
			} else {
				raw[i], err = c.Conn(0, 1).OpenStream(t.Context(), "short", payload)
			}
			if err != nil {
				t.Fatalf("opening stream %d failed: %v", i, err)
			}
		}
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				got, err := collect(raw[i], channels[i])
				check(t, fmt.Sprintf("stream %d", i), checkShort(i, got, err))
			})
		}
		wg.Wait()
		wantNothingHeld(t, c)
	})
}

// shortMessage is message j of the short stream i.
func shortMessage(i, j int) []byte { return lab.Pattern(i+j, (i*7+j*31)%300) }

// shortLength is how many messages the short stream i has.
func shortLength(i int) int { return i % 12 }

// fails reports whether the handler of the short stream i ends with an error.
func fails(i int) bool { return i%5 == 0 }

func shortStream(_ context.Context, payload []byte, s *core.RawStream) error {
	i := int(binary.LittleEndian.Uint32(payload))
	for j := range shortLength(i) {
		if err := s.Send(shortMessage(i, j)); err != nil {
			return err
		}
	}
	if fails(i) {
		return fmt.Errorf("the end of %d", i)
	}
	return nil
}

// collect reads a stream of either form to its end.
func collect(raw *core.RawStream, channels *core.Stream) (msgs [][]byte, err error) {
	if channels != nil {
		err = channels.Results(func(msg []byte) error {
			msgs = append(msgs, msg)
			return nil
		})
		return msgs, err
	}
	for {
		msg, err := raw.Recv(nil)
		switch {
		case err == io.EOF:
			return msgs, nil
		case err != nil:
			return msgs, err
		}
		msgs = append(msgs, msg)
	}
}

func checkShort(i int, got [][]byte, err error) error {
	switch {
	case fails(i) && !lab.Mentions(err, fmt.Sprintf("the end of %d", i)), !fails(i) && err != nil:
		return fmt.Errorf("it ended with %w", err)
	case len(got) != shortLength(i):
		return fmt.Errorf("it had %d messages, want %d", len(got), shortLength(i))
	}
	for j, msg := range got {
		if !bytes.Equal(msg, shortMessage(i, j)) {
			return fmt.Errorf("message %d of %d bytes is not what was sent", j, len(msg))
		}
	}
	return nil
}
