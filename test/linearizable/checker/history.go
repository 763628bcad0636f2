package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// What happens in one nanosecond can still be ordered.
const instant = 1024

// What the lines of a history hold: history.ts writes them, and says what they mean.

type header struct {
	// "single": each operation touches one key, so that each key is a history of its own. "several": one state of all keys.
	Keys     string `json:"keys"`
	KeyCount int    `json:"keyCount"`
}

type change struct {
	Key   int    `json:"key"`
	Kind  string `json:"kind"`
	Value int64  `json:"value"`
}

type check struct {
	Key     int   `json:"key"`
	Version int64 `json:"version"`
}

// observation: what a read found under a key.
type observation struct {
	Key int `json:"key"`
	// nil: nothing.
	Value *int64 `json:"value"`
	// nil: the read does not tell.
	Version *int64 `json:"version"`
}

type line struct {
	Header *header `json:"header"`

	Call string `json:"call"`
	Try  string `json:"try"`
	// The operation that has ended.
	Return string `json:"return"`
	// ns of one clock of all processes.
	At       int64  `json:"at"`
	Instance string `json:"instance"`

	Kind        string        `json:"kind"`
	Consistency string        `json:"consistency"`
	Keys        []int         `json:"keys"`
	Checks      []check       `json:"checks"`
	Changes     []change      `json:"changes"`
	Reads       []observation `json:"reads"`
	Witnessed   bool          `json:"witnessed"`
	Outcome     string        `json:"outcome"`
	Version     int64         `json:"version"`

	// An instance that does nothing any more: its process was killed.
	Died string `json:"died"`

	// Version of each witness that the ledger holds at the end.
	Witnesses map[string]int64 `json:"witnesses"`
}

// operation: one call, with everything that is known of it.
type operation struct {
	id       string
	instance string
	// Its place among the calls of its process, which are made one after the other.
	order int
	// When it was called and has returned; and between which instants it takes effect, as far as is known.
	called, returned, call, end int64

	kind      string
	strong    bool
	keys      []int
	checks    []check
	changes   []change
	reads     []observation
	witnessed bool
	// "read", "committed", "conflict", "not committed", "unknown", "failed" (a read that gave nothing)
	outcome string
	// Of its commit; 0: nobody was told.
	version int64

	// The commit, of those whose versions are known, that comes right before this one.
	previous int64
	// A read sees no state before that version.
	atLeast int64
	// Nor one from that version on, if there is one: its instance was told to write it after it was asked to read.
	before int64
}

type history struct {
	header     header
	operations []*operation
	witnesses  map[string]int64
}

func readHistory(path string) (*history, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	h := &history{}
	byId := map[string]*operation{}
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<26)
	for number := 1; scanner.Scan(); number++ {
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		switch {
		case l.Header != nil:
			h.header = *l.Header
		case l.Call != "":
			o := &operation{
				id: l.Call, instance: l.Instance, order: len(h.operations), called: l.At, returned: never,
				kind: l.Kind, strong: l.Consistency == "strong", keys: l.Keys, checks: l.Checks, changes: l.Changes,
				witnessed: l.Witnessed, outcome: "unknown",
			}
			if byId[o.id] != nil {
				return nil, fmt.Errorf("line %d: %s is called twice", number, o.id)
			}
			byId[o.id] = o
			h.operations = append(h.operations, o)
		case l.Try != "" && byId[l.Try] != nil:
			o := byId[l.Try]
			o.reads, o.changes = l.Reads, l.Changes
		case l.Return != "" && byId[l.Return] != nil:
			o := byId[l.Return]
			o.outcome, o.version, o.returned = l.Outcome, l.Version, l.At
			if l.Reads != nil {
				o.reads = l.Reads
			}
			if o.outcome == "unknown" {
				// It may still take effect after its caller was told so.
				o.returned = never
			}
		case l.Died != "":
			for _, o := range h.operations {
				if o.instance == l.Died && o.returned == never {
					o.returned = l.At
				}
			}
		case l.Witnesses != nil:
			h.witnesses = l.Witnesses
		default:
			return nil, fmt.Errorf("line %d says nothing", number)
		}
	}
	if h.header.KeyCount < 1 || h.header.KeyCount > keysMax || h.witnesses == nil {
		return nil, fmt.Errorf("not a whole history: %d keys, witnesses %v", h.header.KeyCount, h.witnesses != nil)
	}
	for _, o := range h.operations {
		o.call, o.end = o.called*instant, never
		if o.returned != never {
			o.end = o.returned*instant + instant - 1
		}
	}
	return h, scanner.Err()
}
