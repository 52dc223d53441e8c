package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// none stands where there is nothing to say.
const none = "–"

// block is what README shows of a run.
func (f *found) block() string {
	return strings.Join([]string{
		f.preface(), f.callsBlock(), f.everybodyBlock(), f.streamsBlock(), f.bulkBlock(), f.idleBlock(),
	}, "\n\n") + "\n"
}

// preface says of what run the tables are and how to read them.
func (f *found) preface() string {
	var b strings.Builder
	fmt.Fprintf(&b, "On %s with %d cores, GOMAXPROCS=%d, kernel %s and %s, on %s with `%s` in `bench/peers`. "+
		"Contenders take turns: a figure is the median of the rounds, and behind ± is how far the farthest was off. "+
		"A ratio is of two windows of the same round. Where the rounds of either differ by %s or more "+
		"it says *too much*, and the ratio does not count.",
		f.run.CPU, f.run.Cores, f.run.Procs, f.run.Kernel, f.run.Go, f.run.Began.Format("2 January 2006"), f.run.Command, percent(noisy))
	if shares := f.others(); len(shares) > 0 {
		fmt.Fprintf(&b, " Of the machine something else used %s in the median window and %s in the worst.",
			percent(median(shares)), percent(slices.Max(shares)))
		if loaded := f.loaded(); loaded*10 > len(shares) {
			fmt.Fprintf(&b, " **In %d of %d it used more than %s: the machine was busy, measure again.**",
				loaded, len(shares), percent(busy))
		}
	}
	if n := f.missing(); n > 0 {
		fmt.Fprintf(&b, " **The run is not complete: %d windows are missing.**", n)
	}
	for _, failed := range f.failed() {
		fmt.Fprintf(&b, "\n\n**FAILED: %s**", failed)
	}
	return b.String()
}

// how says how a step was measured.
func how(rep *report) string {
	switch {
	case rep.options.rounds == 0:
		return "not measured"
	case rep.mode == modeIdle || rep.mode == modeMesh:
		return plural(rep.options.rounds, "round")
	}
	return fmt.Sprintf("%s of %v", plural(rep.options.rounds, "round"), rep.dur)
}

// part is the part of a table that is of one step.
type part struct {
	name string
	*report
}

// hows says how the parts of a table were measured, and which of them how where that differs.
func hows(parts ...part) string {
	var ways []string
	of := map[string][]string{}
	for _, p := range parts {
		way := how(p.report)
		if of[way] == nil {
			ways = append(ways, way)
		}
		of[way] = append(of[way], p.name)
	}
	if len(ways) == 1 {
		return ways[0]
	}
	for i, way := range ways {
		ways[i] = fmt.Sprintf("%s for %s", way, strings.Join(of[way], ", "))
	}
	return strings.Join(ways, "; ")
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

func (f *found) callsBlock() string {
	rate := perSecond("calls")
	var rows []table.Row
	var parts []part
	for _, n := range readmeCallers() {
		calls := f.of(modeUnary, smallSize, n)
		parts = append(parts, part{plural(n, "caller"), calls})
		rows = append(rows, table.Row{
			n,
			calls.absolute("ours", rate), calls.versus("ours", "ideal-go", rate), calls.versus("ours", "ideal-go", cpuTime),
			calls.absolute("ours-quic", rate), calls.versus("ours-quic", "quic", rate), calls.versus("ours-quic", "quic", cpuTime),
		})
	}
	return fmt.Sprintf("Calls of %d bytes: gridmux over websocket beside the bare multiplexer, and over QUIC beside %s with "+
		"a stream per caller (%s).\n\n", smallSize, f.short("quic"), hows(parts...)) +
		grid(table.Row{
			"callers", "websocket, calls per s", "websocket : bare", "CPU per call, websocket : bare",
			"QUIC, calls per s", "QUIC : quic-go", "CPU per call, QUIC : quic-go",
		}, rows, 0)
}

func (f *found) everybodyBlock() string {
	rep := f.of(modeUnary, smallSize, crowd)
	rate := perSecond("calls")
	contenders := slices.Clone(rep.peers)
	slices.SortStableFunc(contenders, func(a, b string) int { return cmp.Compare(rep.middle(b, rate), rep.middle(a, rate)) })
	var rows []table.Row
	for _, name := range contenders {
		times := none
		if name != "ours" {
			times = rep.versus("ours", name, rate)
		}
		rows = append(rows, table.Row{
			f.label(name), rep.absolute(name, rate), times, rep.absolute(name, p50), rep.absolute(name, p99),
			short(rep.middle(name, allocs), len(rep.rounds[name])), rep.absolute(name, cpuTime),
		})
	}
	return fmt.Sprintf("All contenders, calls of %d bytes by %d callers, the fastest first; the ratio is of the calls per "+
		"second of gridmux over websocket to theirs (%s).\n\n", smallSize, crowd, how(rep)) +
		grid(table.Row{"", "calls per s", "gridmux : it", "p50, µs", "p99, µs", "allocations per call", "CPU per call, µs"}, rows, 1)
}

func (f *found) streamsBlock() string {
	rate := perSecond("messages")
	var rows []table.Row
	var parts []part
	forms := []struct{ contender, name string }{{"ours", "`Send` and `Recv`"}, {"ours-chan", "channels"}}
	for _, n := range readmeStreams() {
		rep := f.of(modeStream, smallSize, n)
		parts = append(parts, part{plural(n, "stream"), rep})
		for _, form := range forms {
			row := table.Row{n, form.name, rep.absolute(form.contender, rate)}
			for _, other := range []string{"floor-tcp-buf", "smux-buf", "grpc-raw"} {
				row = append(row, rep.versus(form.contender, other, rate))
			}
			rows = append(rows, append(row, short(rep.middle(form.contender, allocs), len(rep.rounds[form.contender]))))
		}
	}
	large := f.of(modeStream, largeMessage, 1)
	return fmt.Sprintf("Streams of messages of %d bytes, one way over websocket: the messages per second of all together beside those "+
		"of buffered writes to as many bare TCP connections, of buffered writes to streams of %s, and of streams of %s (%s).\n\n",
		smallSize, f.short("smux-buf"), f.short("grpc-raw"), hows(parts...)) +
		grid(table.Row{"streams", "with", "messages per s", ": TCP", ": smux", ": grpc-go", "allocations per message"}, rows, 2) +
		fmt.Sprintf("\n\nOne stream of messages of %d KiB over QUIC, beside one bare stream of %s (%s).\n\n",
			largeMessage>>10, f.short("quic"), how(large)) +
		grid(table.Row{"gridmux, messages per s", "quic-go, messages per s", "gridmux : quic-go"}, []table.Row{
			{large.absolute("ours-quic", rate), large.absolute("quic", rate), large.versus("ours-quic", "quic", rate)},
		}, 0)
}

func (f *found) bulkBlock() string {
	rep := f.of(modeOpen, smallSize, smallCallers)
	contenders := []string{"ours", "ideal-go", "smux", "grpc-raw"}
	var rows []table.Row
	for _, fig := range []struct {
		name string
		figure
	}{
		{"small calls alone, p99, µs", aloneP99},
		{"small calls beside bulk, p99, µs", besideP99},
		{"the second in times of the first", besideTimes},
		{"bulk alone, MB/s each way", bulkAlone},
		{"bulk beside small calls, MB/s each way", bulkBeside},
	} {
		row := table.Row{fig.name}
		for _, name := range contenders {
			row = append(row, rep.absolute(name, fig.figure))
		}
		rows = append(rows, row)
	}
	for _, fig := range []struct {
		name string
		figure
	}{
		{"gridmux : it, p99 beside bulk (less is better)", besideP99},
		{"gridmux : it, bulk alone", bulkAlone},
		{"gridmux : it, bulk beside small calls", bulkBeside},
	} {
		row := table.Row{fig.name, none}
		for _, name := range contenders[1:] {
			row = append(row, rep.versus("ours", name, fig.figure))
		}
		rows = append(rows, row)
	}
	header := table.Row{"", "**gridmux**"}
	for _, name := range contenders[1:] {
		header = append(header, f.short(name))
	}
	return fmt.Sprintf("A thousand small calls per second, of %d bytes and each at its time, and echoes of 4 MiB back to back, "+
		"on one connection: each alone, and both (%s for each).\n\n", smallSize, how(rep)) + grid(header, rows, 1)
}

func (f *found) idleBlock() string {
	mesh, alone := f.of(modeMesh, 0, meshNodes), f.of(modeIdle, 0, pairs)
	var rows []table.Row
	add := func(label, name string, rep *report) {
		rows = append(rows, table.Row{
			label, short(rep.middle(name, goroutines), len(rep.rounds[name])), rep.absolute(name, heldMemory), rep.absolute(name, resident),
		})
	}
	for _, name := range []string{"ours-inmem", "ours", "ours-wss", "ours-quic"} {
		add(f.label(name), name, mesh)
	}
	add(f.label("ours")+", two nodes of its own each", "ours", alone)
	for _, name := range []string{"floor-tcp", "yamux", "smux", "grpc-raw", "quic"} {
		add(f.short(name), name, alone)
	}
	return fmt.Sprintf("What an idle connection costs, both ends together: of gridmux a pair in a full mesh of %d nodes, which has "+
		"%d, and of the others one of as many (%s).\n\n", meshNodes, pairs, hows(part{"the mesh", mesh}, part{"the others", alone})) +
		grid(table.Row{"", "goroutines", "heap and stacks, KiB", "resident, KiB"}, rows, 1)
}

// grid is a table in Markdown, whose columns are numbers from one on.
func grid(header table.Row, rows []table.Row, from int) string {
	t := table.NewWriter()
	t.AppendHeader(header)
	t.AppendRows(rows)
	var columns []table.ColumnConfig
	for i := from; i < len(header); i++ {
		columns = append(columns, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	return t.RenderMarkdown()
}

// middle is the median of a figure, or 0 if there is none.
func (rep *report) middle(name string, f figure) float64 {
	if values := rep.values(name, f); len(values) > 0 {
		return median(values)
	}
	return 0
}

// absolute is a figure of a contender.
func (rep *report) absolute(name string, f figure) string {
	values := rep.values(name, f)
	if len(values) == 0 {
		return none
	}
	return withSpread(short(median(values), len(values)), values)
}

// versus is a figure of a contender in times of that of another one.
func (rep *report) versus(name, other string, f figure) string {
	ratios := rep.ratiosOf(name, other, f)
	if len(ratios) == 0 {
		return none
	}
	s := withSpread(short(median(ratios), len(ratios)), ratios)
	for _, of := range []string{name, other} {
		if values := rep.values(of, f); len(values) > 1 && spread(values) >= noisy {
			return s + ", *too much*"
		}
	}
	return s
}

func withSpread(s string, values []float64) string {
	if len(values) > 1 {
		s += " ±" + percent(spread(values))
	}
	return s
}

// short shows three digits of a number that was measured so many times.
func short(x float64, times int) string {
	if times == 0 {
		return none
	}
	if x < 1000 {
		return number(x, 0)
	}
	unit := math.Pow(10, math.Floor(math.Log10(x))-2)
	s := strconv.FormatFloat(math.Round(x/unit)*unit, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
