package main

import (
	"io/fs"
	"os"
	"strings"
)

// sharedKeys returns what the files of a directory contain, in the order of their
// names: the first key proves, all verify.
func sharedKeys(dir string) (keys [][]byte, err error) {
	root := os.DirFS(dir)
	files, err := fs.ReadDir(root, ".") // sorted
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".") {
			continue // the kubelet's own
		}
		key, err := fs.ReadFile(root, f.Name())
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
