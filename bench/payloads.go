package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/internal/samples"
)

// payload is what messages have in them.
type payload struct {
	name string
	// train is what a dictionary is made of.
	train [][]byte
	// messages are others than those of train: n of them of that size.
	messages func(size, n int) [][]byte
}

// Seeds of what is generated: a dictionary knows nothing of the messages that it is
// measured with.
const (
	trainSeed   = 1
	messageSeed = 2
	trainCount  = 2000 // records
)

// imageName is the payload that package samples has by itself.
const imageName = "image"

// payloadNames returns those that are generated.
func payloadNames() []string {
	var names []string
	for _, k := range samples.Kinds {
		names = append(names, k.Name)
	}
	return slices.Insert(names, len(names)-1, imageName) // before random
}

// generated returns one of them.
func generated(name string) payload {
	if name == imageName {
		return payload{
			name,
			slices.Collect(slices.Chunk(samples.Images(trainSeed, trainCount*100), 200)),
			func(size, n int) [][]byte {
				return slices.Collect(slices.Chunk(samples.Images(messageSeed, size*n), size))
			},
		}
	}
	k := samples.ByName(name)
	return payload{name, k.Records(trainSeed, trainCount), func(size, n int) (all [][]byte) {
		for i := range n {
			all = append(all, k.Payload(messageSeed+uint64(i), size))
		}
		return all
	}}
}

// Limits on messages of the user's that are read.
const (
	maxSamples     = 100_000
	maxSampleBytes = 256 << 20
)

// readSamples returns the messages in files and below directories, each file one, or
// each line of them. Empty ones do not count, and neither does what is hidden. It ends with ctx.
func readSamples(ctx context.Context, lines bool, names ...string) (all [][]byte, err error) {
	total := 0
	for _, name := range names {
		err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			if err = cmp.Or(ctx.Err(), err); err != nil {
				return err
			}
			switch hidden := strings.HasPrefix(d.Name(), ".") && path != name; {
			case hidden && d.IsDir():
				return fs.SkipDir
			case hidden || d.IsDir():
				return nil
			}
			most := maxSampleBytes - total
			if !lines {
				most = min(most, maxSize)
			}
			text, err := readFile(path, most)
			switch {
			case errors.Is(err, errTooLarge) && most == maxSize:
				return fmt.Errorf("%s: a message of more than %d bytes", path, maxSize)
			case errors.Is(err, errTooLarge):
				return tooManySamples(path)
			case err != nil:
				return err
			}
			total += len(text)
			for _, m := range split(text, lines) {
				if len(m) > maxSize {
					return fmt.Errorf("%s: a message of more than %d bytes", path, maxSize)
				}
				all = append(all, m)
			}
			if len(all) > maxSamples {
				return tooManySamples(path)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// tooManySamples says that there are more, up to a file, than are read.
func tooManySamples(path string) error {
	return fmt.Errorf("%s: more than %d samples or %d MiB: use fewer", path, maxSamples, maxSampleBytes>>20)
}

// split returns the messages in a file.
func split(text []byte, lines bool) (all [][]byte) {
	if !lines {
		if len(text) > 0 {
			all = append(all, text)
		}
		return all
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			all = append(all, []byte(line))
		}
	}
	return all
}

// apart divides samples into those for a dictionary and others to measure it with.
func apart(all [][]byte) (train, rest [][]byte) {
	for i, m := range all {
		if i%2 == 0 {
			train = append(train, m)
		} else {
			rest = append(rest, m)
		}
	}
	return train, rest
}

// judges is how many messages tell what a dictionary is worth.
const judges = 500

// trained returns a dictionary for a payload, or nil if none would make messages smaller
// that it was not trained on.
func trained(train, others [][]byte) *compress.Dictionary {
	d, err := compress.Train(train, 0)
	if err != nil {
		return nil
	}
	if _, useful := worth(d, others[:min(len(others), judges)]); !useful {
		return nil
	}
	return d
}
