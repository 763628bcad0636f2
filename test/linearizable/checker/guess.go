package main

import "sort"

// span: between which instants an operation is said to take effect.
type span struct{ call, end int64 }

// guess places each read, and each conflict, behind the first commit after which it finds what its caller was told, by narrower spans than are certain. If
// porcupine finds an order within these it has found one; that there is none within them proves nothing. Where a process was held up for long, trying all
// places takes longer than anybody waits.
func guess(operations []*operation) map[*operation]span {
	commits := commitsOf(operations)
	states := []state{{}}
	spans := map[*operation]span{}
	for i, o := range commits {
		states = append(states, states[i].with(o))
		spans[o] = span{o.call, o.end}
	}
	var placed []*operation
	places := map[*operation]int{}
	for _, o := range byCall(operations) {
		if o.outcome != "read" && o.outcome != "conflict" {
			continue
		}
		place := sort.Search(len(commits), func(i int) bool { return commits[i].end >= o.call })
		for _, before := range placed {
			if before.end < o.call {
				place = max(place, places[before])
			}
		}
		for place < len(commits) && len(step(states[place], o)) == 0 {
			place++
		}
		placed, places[o] = append(placed, o), place
		s := span{o.call, o.end}
		if place > 0 {
			s.call = max(s.call, commits[place-1].call)
		}
		if place < len(commits) {
			next := spans[commits[place]]
			s.end = min(s.end, next.end)
			spans[commits[place]] = span{max(next.call, s.call+1), next.end}
		}
		spans[o] = s
	}
	for i := 1; i < len(commits); i++ {
		s := spans[commits[i]]
		spans[commits[i]] = span{max(s.call, spans[commits[i-1]].call+1), s.end}
	}
	for _, s := range spans {
		if s.call > s.end {
			return nil
		}
	}
	return spans
}

func byCall(operations []*operation) []*operation {
	sorted := append([]*operation{}, operations...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].call < sorted[j].call })
	return sorted
}
