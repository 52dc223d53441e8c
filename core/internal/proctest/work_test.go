//go:build linux || darwin

package proctest_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// workHandler is the handler of a child that keeps account.
const workHandler core.HandlerID = "work"

// Modes of work.
const (
	modeEcho  = "echo"  // returns the request
	modeSleep = "sleep" // returns it after a time
	modeBlock = "block" // waits for the end of its context and returns its error
)

// work is a request to workHandler: who it is, and what to do.
type work struct {
	id   string // without spaces; no other call has it
	mode string
	d    time.Duration // of modeSleep
	pad  int           // size in bytes of what follows
}

func (w work) request() []byte {
	b := fmt.Appendf(nil, "%s %s %d\n", w.id, w.mode, int64(w.d))
	return append(b, make([]byte, w.pad)...)
}

// recordSize is the size in bytes of an entry of a ledger. A kill can end a
// write between two pages of the file: since the size divides that of a page, an
// entry never lies in two of them, and is whole or not there at all.
const recordSize = 64

// record returns the entry of a call.
func record(id []byte) ([]byte, error) {
	if len(id) >= recordSize {
		return nil, fmt.Errorf("the id %q of a call is longer than an entry of the ledger", id)
	}
	b := append(make([]byte, 0, recordSize), id...)
	for len(b) < recordSize-1 {
		b = append(b, ' ')
	}
	return append(b, '\n'), nil
}

// worker serves workHandler in a child.
type worker struct {
	file  *os.File // the child's ledger; nil: it keeps none
	began atomic.Int64
	at    int64  // told is called when so many handlers have begun
	told  func() // may be nil
}

func (w *worker) handle(ctx context.Context, req []byte) ([]byte, error) {
	head, _, _ := bytes.Cut(req, []byte("\n"))
	id, rest, _ := bytes.Cut(head, []byte(" "))
	if w.file != nil {
		entry, err := record(id)
		if err != nil {
			return nil, err
		}
		// A write to a file opened with O_APPEND outlives the process.
		if _, err := w.file.Write(entry); err != nil {
			return nil, err
		}
	}
	if w.began.Add(1) == w.at && w.told != nil {
		w.told()
	}
	mode, arg, _ := bytes.Cut(rest, []byte(" "))
	switch string(mode) {
	case modeSleep:
		ns, err := strconv.ParseInt(string(arg), 10, 64)
		if err != nil {
			return nil, err
		}
		pass(time.Duration(ns))
	case modeBlock:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return req, nil
}

// account is what the children's ledgers say: how often the handler of each
// call was started.
type account map[string]int

// readAccount reads the ledgers. Every entry must be whole.
func readAccount(t testing.TB, paths ...string) account {
	t.Helper()
	all := account{}
	for _, path := range paths {
		ledger, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("reading a ledger failed: %v", err)
		}
		for entry := range slices.Chunk(ledger, recordSize) {
			id, whole := bytes.CutSuffix(entry, []byte("\n"))
			if !whole || len(entry) != recordSize {
				t.Fatalf("the ledger %s has an entry that is not whole: %q", path, entry)
			}
			all[string(bytes.TrimRight(id, " "))]++
		}
	}
	return all
}

// check compares what the caller of one call was told with the account, and
// returns what is wrong with it.
func (a account) check(id string, err error) error {
	n := a[id]
	outcome := core.OutcomeOf(err)
	switch {
	case n > 1:
		return fmt.Errorf("call %s: its handler ran %d times; the caller was told %w", id, n, orSuccess(err))
	case err == nil && n == 0, err != nil && outcome == core.OutcomeRemote && n == 0:
		return fmt.Errorf("call %s: its handler never ran; the caller was told %w", id, orSuccess(err))
	case err != nil && (outcome == core.OutcomeNotSent || outcome == core.OutcomeRefused) && n > 0:
		return fmt.Errorf("call %s: its handler ran; the caller was told %w", id, err)
	}
	return nil
}

var errNone = fmt.Errorf("that it succeeded")

func orSuccess(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// outcomes counts calls by what their callers were told.
type outcomes struct{ ok, notSent, refused, maybeRun, remote int }

func (o *outcomes) add(err error) {
	switch {
	case err == nil:
		o.ok++
	case core.OutcomeOf(err) == core.OutcomeNotSent:
		o.notSent++
	case core.OutcomeOf(err) == core.OutcomeRefused:
		o.refused++
	case core.OutcomeOf(err) == core.OutcomeRemote:
		o.remote++
	default:
		o.maybeRun++
	}
}
