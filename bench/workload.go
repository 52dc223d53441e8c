package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core"
)

// callTimeout is the deadline of a measured call. It is there because calls
// should have one, and so that a call that hangs is reported.
const callTimeout = 10 * time.Second

// load is what the lines of a block of a table have in common: what is done, and
// by how many at once.
type load struct {
	table  table
	name   string // in the JSON output
	title  string // of the block
	atOnce int
	size   int  // of a request and of its answer, or of a message
	each   int  // operations of a step
	called int  // nodes; 0: one
	bulk   int  // bytes of a request beside those, and of its answer; 0: there are none
	slot   slot // over a real path; the zero value: as planned for all
	tasks  func(to []*core.Connection) tasks
}

// nodes is how many nodes are called.
func (l *load) nodes() int { return max(l.called, 1) }

// tasks are what is done at the same time over one connection. Only those that
// are measured are in the figures; those beside them are counted.
type tasks struct {
	measured, beside []task
	// wire tells how many bytes of frames have gone over the connections; nil: nobody counts.
	wire func() int64
	// settle waits until what was under way has arrived, for the next window not to wait for it; nil:
	// nothing is left.
	settle func(ctx context.Context)
}

// task begins what one goroutine does in a window, and returns what it does over
// and over. end is called after the last step. A task is for one goroutine at a
// time.
type task func(ctx context.Context) (step func() error, end func(), err error)

// loads returns what the flags ask for, in the order of the tables.
func loads(opts options, p plan) (all []load) {
	for _, t := range opts.tables {
		switch t {
		case calls:
			all = append(all, callLoads(opts)...)
		case streams:
			all = append(all, streamLoads(opts, p)...)
		case mixed:
			all = append(all, mixedLoads(opts)...)
		case fanout:
			all = append(all, fanoutLoads(opts)...)
		}
	}
	return all
}

// callLoads are requests that are answered with themselves, of each size by as many at
// once as have a moderate number of bytes under way.
func callLoads(opts options) (all []load) {
	for i, size := range append([]int{opts.size}, opts.sizes...) {
		content, name, of := opts.content(), "calls", ""
		if i > 0 {
			content, name, of = randomBytes(size), "calls-of-"+strconv.Itoa(size), ", "+octets(size)
		}
		for _, n := range opts.callers {
			if i > 0 && n > 1 && size*n > sizesUnderWay {
				continue
			}
			e := newEchoLoad(content, opts.timeout(n, size))
			all = append(all, load{
				table: calls, name: name, title: plural(n, "caller") + of, atOnce: n, size: size, each: 1,
				tasks: func(to []*core.Connection) tasks { return tasks{measured: e.callers(to[0], n)} },
			})
		}
	}
	return all
}

// sizesUnderWay is how many bytes of larger requests are under way at most. More of
// them take longer, and are not faster.
const sizesUnderWay = 256 << 10

// content makes what requests and messages are: the payload of the user, if there is one.
func (o *options) content() func() []byte {
	if o.payload != nil {
		return func() []byte { return o.payload }
	}
	return randomBytes(o.size)
}

// echoLoad makes callers.
type echoLoad struct {
	payload func() []byte
	options []core.CallOption // built once, so that no call allocates for them
}

func newEchoLoad(payload func() []byte, timeout time.Duration) *echoLoad {
	return &echoLoad{payload: payload, options: []core.CallOption{core.WithTimeout(timeout)}}
}

// timeout is the deadline of a call of a size, of which so many are under way.
func (o *options) timeout(callers, size int) time.Duration {
	if o.remote == nil {
		return callTimeout
	}
	return o.remote.speed.timeout(callers, size)
}

// randomBytes returns what makes a payload when it is needed. It is the same every
// time, and nothing gains by compressing it.
func randomBytes(size int) func() []byte {
	return sync.OnceValue(func() []byte {
		b := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{}).Read(b)
		return b
	})
}

// aboutCalls describes the load in sentences without the last full stop. What goes over a slow path may have longer.
func aboutCalls(size int) string {
	return fmt.Sprintf("AppendRequest to a HandleAppend handler, which echoes %d B. Each caller has a cancellable context, "+
		"and all share one option WithTimeout(%v), or more over a slow path, so that every call carries a deadline", size, callTimeout)
}

func (e *echoLoad) callers(c *core.Connection, n int) (all []task) {
	for range n {
		all = append(all, e.caller(c))
	}
	return all
}

// caller returns what one caller does.
func (e *echoLoad) caller(c *core.Connection) task {
	payload := e.payload()
	buf := make([]byte, 0, len(payload))
	checked := false
	return func(ctx context.Context) (step func() error, end func(), err error) {
		return func() error {
			answer, err := c.AppendRequest(ctx, echoID, payload, buf[:0], e.options...)
			if err != nil {
				return err
			}
			// Comparing every answer would be a part of what is measured.
			if len(answer) != len(payload) || !checked && !bytes.Equal(answer, payload) {
				return errWrongAnswer
			}
			checked = true
			return nil
		}, func() {}, nil
	}
}

const (
	bulkCallers = 4
	bulkSize    = 1 << 20
	// bulkTimeout is for paths of a few Mbit/s, on which it is what the small requests wait for that counts.
	bulkTimeout = time.Minute
)

// mixedLoads are a caller of small requests alone, and beside large ones.
func mixedLoads(opts options) []load {
	size := opts.bulk()
	title := "beside bulk"
	if size != bulkSize {
		title += " of " + octets(size)
	}
	small := newEchoLoad(opts.content(), opts.timeout(1, opts.size))
	bulk := newEchoLoad(randomBytes(size), max(bulkTimeout, opts.timeout(bulkCallers, size)))
	return []load{
		{
			table: mixed, name: "alone", title: "alone", atOnce: 1, size: opts.size, each: 1,
			tasks: func(to []*core.Connection) tasks { return tasks{measured: small.callers(to[0], 1)} },
		},
		{
			table: mixed, name: "beside-bulk", title: title, atOnce: 1, size: opts.size, each: 1, bulk: size,
			tasks: func(to []*core.Connection) tasks {
				return tasks{measured: small.callers(to[0], 1), beside: bulk.callers(to[0], bulkCallers)}
			},
		},
	}
}
