/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
 *
 * An XDP program that does nothing, for the overhead bench: what it costs on veth to have any. It can take packets of
 * several buffers, as Portmeter's can; without that veth switches segmentation off. Used by nothing but the bench.
 */

#include <linux/bpf.h>

__attribute__((section("xdp.frags"), used))
int xdp_nothing(struct xdp_md *packet __attribute__((unused)))
{
	return XDP_PASS;
}
