package main

import (
	"fmt"
	"math"
	"sort"
)

const never = math.MaxInt64

// settle finds out what the witnesses and the values that were read prove of each operation, and returns what contradicts what its author was told.
func (h *history) settle() []string {
	var wrong []string
	kept := h.operations[:0]
	for _, o := range h.operations {
		if o.witnessed {
			if problem := o.hear(h.witnesses[o.id]); problem != "" {
				wrong = append(wrong, fmt.Sprintf("%s: %s", o.id, problem))
			}
		}
		if o.outcome == "committed" && o.version == 0 {
			wrong = append(wrong, fmt.Sprintf("%s: acknowledged without a version", o.id))
		}
		// What was not committed must leave no trace, and what a read that failed has seen nobody knows.
		gone := o.outcome == "not committed" || o.outcome == "failed"
		if unknowable := o.outcome == "unknown" && len(o.changes) == 0; !gone && !unknowable {
			kept = append(kept, o)
		}
	}
	h.operations = kept
	h.hearReads()
	return wrong
}

// hear: what its witness says of a commit. The version under which the ledger holds it, or 0.
func (o *operation) hear(version int64) string {
	switch {
	case o.outcome == "committed" && version == 0:
		return "acknowledged, and not in the ledger"
	case o.outcome == "committed" && o.version != 0 && o.version != version:
		return fmt.Sprintf("acknowledged with version %d, in the ledger with %d", o.version, version)
	case (o.outcome == "conflict" || o.outcome == "not committed" || o.outcome == "read") && version != 0:
		return fmt.Sprintf("told %s, and in the ledger with version %d", o.outcome, version)
	case o.outcome == "unknown" && version == 0:
		o.outcome = "not committed"
	case o.outcome == "unknown":
		o.outcome = "committed"
	}
	o.version = version
	return ""
}

// hearReads: a set whose outcome is unknown has happened if its value, which nobody else sets, was read under a version that belongs to nobody else.
func (h *history) hearReads() {
	taken := map[int64]bool{}
	sets := map[int64]*operation{}
	for _, o := range h.operations {
		taken[o.version] = true
		if o.kind == "set" && o.outcome == "unknown" {
			sets[o.changes[0].Value] = o
		}
	}
	for _, o := range h.operations {
		for _, r := range o.reads {
			if r.Value == nil || r.Version == nil || taken[*r.Version] {
				continue
			}
			if set := sets[*r.Value]; set != nil && set.changes[0].Key == r.Key && set.version == 0 {
				set.outcome, set.version = "committed", *r.Version
			}
		}
	}
}

// bind ties the operations of one model to each other by versions, the order of commits: a commit to the one before it, a read to what its instance has
// seen before. What comes after an operation cannot end before that is called, nor what comes before it be called after that has ended: that leaves
// porcupine few orders to try. Returns what cannot be at all, if anything.
func bind(operations []*operation) string {
	commits := commitsOf(operations)
	for i := 1; i < len(commits); i++ {
		commits[i].previous = commits[i-1].version
	}
	for i := len(commits) - 2; i >= 0; i-- {
		commits[i].end = min(commits[i].end, commits[i+1].end)
	}
	byInstance := map[string][]*operation{}
	for _, o := range operations {
		byInstance[o.instance] = append(byInstance[o.instance], o)
	}
	for _, o := range operations {
		if o.outcome == "read" && o.kind == "read" {
			o.atLeast = seenBefore(o, byInstance[o.instance], commits)
			o.before = calledBehind(o, byInstance[o.instance])
		}
	}
	for _, o := range operations {
		if o.outcome == "read" {
			o.narrow(commits)
		}
	}
	for i := 1; i < len(commits); i++ {
		commits[i].call = max(commits[i].call, commits[i-1].call+1)
	}
	for _, o := range operations {
		if o.call > o.end {
			return fmt.Sprintf("%v: has ended before something began that comes before it", o)
		}
	}
	return ""
}

// commitsOf: in the order of their versions.
func commitsOf(operations []*operation) []*operation {
	var commits []*operation
	for _, o := range operations {
		if o.outcome == "committed" {
			commits = append(commits, o)
		}
	}
	sort.Slice(commits, func(i, j int) bool { return commits[i].version < commits[j].version })
	return commits
}

// seenBefore: the newest version that the instance has seen when it is asked to read. Whatever follows the ledger sees all that had been acknowledged.
func seenBefore(read *operation, session, commits []*operation) int64 {
	newest := int64(0)
	for _, o := range session {
		if o.returned < read.called || o.isQueuedBefore(read) {
			newest = max(newest, o.seen())
		}
		if o.returned < read.called && o.follows() {
			newest = max(newest, acknowledgedBefore(commits, o.called))
		}
	}
	return newest
}

// calledBehind: the first commit that the instance was told to make after it was asked to read, however long the read has taken; 0 if there is none.
func calledBehind(read *operation, session []*operation) int64 {
	first := int64(0)
	for _, o := range session {
		if o.order > read.order && o.outcome == "committed" && o.version != 0 && (first == 0 || o.version < first) {
			first = o.version
		}
	}
	return first
}

func (o *operation) follows() bool {
	return o.strong || o.kind == "transaction" || o.outcome == "committed" || o.outcome == "conflict"
}

// acknowledgedBefore: the last of the commits that ended before that instant. They end in their order.
func acknowledgedBefore(commits []*operation, at int64) int64 {
	after := sort.Search(len(commits), func(i int) bool { return commits[i].end >= at*instant })
	if after == 0 {
		return 0
	}
	return commits[after-1].version
}

// narrow: a read comes behind the newest commit that it has seen, and before the next one of a key of which it has seen an older state, or that its instance was
// told to make later. One that may be stale may come before it is called.
func (o *operation) narrow(commits []*operation) {
	newest := max(o.atLeast, o.seen())
	if o.kind == "read" && !o.strong {
		o.call = 0
	}
	if at := search(commits, newest); newest != 0 && at < len(commits) {
		o.call = max(o.call, commits[at].call)
	}
	if at := search(commits, o.before); o.before != 0 && at < len(commits) {
		o.comesBefore(commits[at])
	}
	for _, r := range o.reads {
		if r.Version == nil || *r.Version == 0 {
			continue
		}
		for at := search(commits, *r.Version+1); at < len(commits); at++ {
			if commits[at].touches(r.Key) {
				o.comesBefore(commits[at])
				break
			}
		}
	}
}

func (o *operation) comesBefore(commit *operation) {
	o.end = min(o.end, commit.end)
	commit.call = max(commit.call, o.call+1)
}

// search: the first commit with at least that version.
func search(commits []*operation, version int64) int {
	return sort.Search(len(commits), func(i int) bool { return commits[i].version >= version })
}

func (o *operation) touches(key int) bool {
	for _, c := range o.changes {
		if c.Key == key {
			return true
		}
	}
	return false
}

// seen: the newest version that whoever made the operation has seen when it has ended.
func (o *operation) seen() int64 {
	newest := o.version
	for _, r := range o.reads {
		if r.Version != nil {
			newest = max(newest, *r.Version)
		}
	}
	return newest
}

// isQueuedBefore: an instance queues what it is told to write before the call returns, and a read that is called later waits until its author is told.
func (o *operation) isQueuedBefore(read *operation) bool {
	isQueued := o.kind == "set" || o.kind == "delete" || o.kind == "atomic"
	if !isQueued || o.order > read.order || o.outcome != "committed" || o.returned == never {
		return false
	}
	for _, key := range read.keys {
		if o.touches(key) {
			return true
		}
	}
	return false
}
