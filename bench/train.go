package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gridmux/gridmux/compress"
)

// trainOptions is what the flags say about a dictionary to be made.
type trainOptions struct {
	file  string // to write it to; "": none is to be made
	size  int    // 0: the default of package compress
	from  []string
	lines bool
}

// judgeShare is the part of the samples, one in so many, that tells what a dictionary is
// worth that is trained on the others.
const judgeShare = 10

// train makes a dictionary and says what it is worth. If ctx ends before it is written there is no file.
func (p program) train(ctx context.Context, opts trainOptions) error {
	// Before samples are read, which may take a while. What messages have in common stands in it.
	file, err := openOutput(opts.file, 0o600)
	if err != nil {
		return err
	}
	defer file.abandon()
	made := make(chan madeDictionary, 1)
	go func() { made <- makeDictionary(ctx, opts) }() // it takes seconds, and ends with the process
	var t madeDictionary
	select {
	case t = <-made:
	case <-ctx.Done():
		return ctx.Err()
	}
	if t.err != nil {
		return t.err
	}
	if err := file.write(t.Bytes()); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s has a dictionary of %s bytes, made of %s with a mean of %s bytes.\nIts id is %016x.\n",
		opts.file, count(float64(len(t.Bytes()))), plural(t.samples, "sample"), count(t.mean), t.ID())
	switch {
	case t.others == 0:
		fmt.Fprintf(p.stdout, "\nFrom %d samples on it is told here what it is worth.\n", judgeShare)
		return nil
	case !t.useful:
		fmt.Fprintf(p.stdout, "\nWhat it leaves of %s that it was not trained on\n\n%s\n\n"+
			"It is worth nothing: the samples have too little in common, or are too few.\n", plural(t.others, "other sample"), t.worth)
		return nil
	}
	fmt.Fprintf(p.stdout, "\nWhat it leaves of %s that it was not trained on\n\n%s\n\n%s\n", plural(t.others, "other sample"), t.worth,
		wrap("Give every node this file, by compress.ParseDictionary and compress.WithDictionary. "+
			"Whatever the samples have in common stands in it.", lineWidth))
	return nil
}

// madeDictionary is a dictionary, and what it is worth.
type madeDictionary struct {
	*compress.Dictionary

	err     error
	samples int // that it is made of
	mean    float64
	others  int // that it was not
	worth   string
	useful  bool
}

func makeDictionary(ctx context.Context, opts trainOptions) (t madeDictionary) {
	all, err := readSamples(ctx, opts.lines, opts.from...)
	if err != nil {
		return madeDictionary{err: err}
	}
	var train, others [][]byte
	total := 0
	for i, m := range all {
		total += len(m)
		if i%judgeShare == judgeShare-1 {
			others = append(others, m)
		} else {
			train = append(train, m)
		}
	}
	d, err := compress.Train(train, opts.size)
	if err != nil {
		return madeDictionary{err: errors.New(strings.TrimPrefix(err.Error(), "compress: "))}
	}
	t = madeDictionary{Dictionary: d, samples: len(train), mean: float64(total) / float64(len(all)), others: len(others)}
	if t.others > 0 {
		t.worth, t.useful = worth(d, others)
	}
	return t
}

// worth is a table of what the codecs make of messages with a dictionary and without, and
// whether it makes them a twentieth smaller with one of them. Messages that get larger count
// as they are.
func worth(d *compress.Dictionary, messages [][]byte) (text string, useful bool) {
	plain := 0
	for _, m := range messages {
		plain += len(m)
	}
	var rows [][]string
	for _, c := range []*compress.Codec{compress.S2(compress.WithDictionary(d)), compress.Zstd(compress.WithDictionary(d))} {
		without, with := packedSize(c, 0, messages), packedSize(c, d.ID(), messages)
		useful = useful || 20*with <= 19*without
		rows = append(rows, []string{c.Name(), digits(float64(without) / float64(plain)), digits(float64(with) / float64(plain))})
	}
	return grid([]string{"", "without", "with"}, rows), useful
}

// packedSize is how many bytes messages have in all when a codec is used where it makes
// them smaller.
func packedSize(c *compress.Codec, dictionary uint64, messages [][]byte) (total int) {
	for _, m := range messages {
		total += min(len(m), len(c.AppendDict(nil, m, dictionary)))
	}
	return total
}
