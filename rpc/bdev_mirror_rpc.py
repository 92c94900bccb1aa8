#  SPDX-License-Identifier: BSD-3-Clause
"""The bdev_mirror methods for SPDK's scripts/rpc.py.

    PYTHONPATH=<this folder> rpc.py --plugin bdev_mirror_rpc bdev_mirror_create -h

Only what is given on the command line is sent: defaults and checks are the target's, so that
there is one place which knows them. The options follow METHODS of the crate mirror_rpc, and
a test of that crate holds this file to it.
"""

import json


def spdk_rpc_plugin_initialize(subparsers):
    """Called by rpc.py: adds one subcommand for each method."""
    create_parser(subparsers)
    delete_parser(subparsers)
    stop_parser(subparsers)
    get_bdevs_parser(subparsers)


def create_parser(subparsers):
    p = subparsers.add_parser(
        'bdev_mirror_create',
        help='Create a mirror of 1 to 16 base bdevs')
    p.add_argument(
        '-n', '--name', required=True,
        help='Name of the mirror bdev')
    p.add_argument(
        '-b', '--base-bdevs', required=True, nargs='+', metavar='BDEV',
        help='Names of the base bdevs, 1 to 16 of them')
    p.add_argument(
        '-u', '--uuid',
        help='UUID of the mirror bdev, 8-4-4-4-12 hexadecimal digits.'
        ' Default: a new one')
    p.add_argument(
        '-l', '--log-type',
        help='Where the dirty region log is: core (memory only); internal and disk come later.'
        ' Default: internal')
    p.add_argument(
        '-i', '--initial-sync',
        help='What the legs hold: none (declared equal, nothing is copied); full and blank come later.'
        ' Default: full')
    p.add_argument(
        '-s', '--size-mb', type=int,
        help='Size of the mirror in MiB, 1 to 1099511627776.'
        ' Default: smallest leg less 0.1 %%, at most 128 MiB less')
    p.add_argument(
        '--read-policy',
        help='Which leg a read goes to: least_outstanding; first, round_robin and preferred come later.'
        ' Default: least_outstanding')
    p.add_argument(
        '--data-offset-kb', type=int,
        help='Where the data begins on each leg, in KiB: 0; more comes later.'
        ' Default: 0')
    p.add_argument(
        '--unmap',
        help='What an unmap does on the legs: zeroes (write zeroes), or pass where all legs read zeros.'
        ' Default: zeroes')
    p.add_argument(
        '--require-durable-legs', action='store_true', default=None,
        help='Refuse legs that cannot be flushed to their media; else there is a warning.'
        ' Default: false')
    p.set_defaults(func=bdev_mirror_create)


def delete_parser(subparsers):
    p = subparsers.add_parser(
        'bdev_mirror_delete',
        help='Delete a mirror; the data stay on the base bdevs')
    p.add_argument(
        'name',
        help='Name of the mirror bdev')
    p.add_argument(
        '--no-wipe', dest='wipe', action='store_false', default=None,
        help='Keep the superblocks: the next examine brings it back (log_type core has none)')
    p.add_argument(
        '-f', '--force', action='store_true', default=None,
        help='Delete it even while it is open.'
        ' Default: false')
    p.set_defaults(func=bdev_mirror_delete)


def stop_parser(subparsers):
    p = subparsers.add_parser(
        'bdev_mirror_stop',
        help='Stop a mirror cleanly; what is on the base bdevs stays')
    p.add_argument(
        'name',
        help='Name of the mirror bdev')
    p.set_defaults(func=bdev_mirror_stop)


def get_bdevs_parser(subparsers):
    p = subparsers.add_parser(
        'bdev_mirror_get_bdevs',
        help='List mirrors and their legs')
    p.add_argument(
        '-n', '--name',
        help='Name of one mirror bdev.'
        ' Default: every mirror')
    p.add_argument(
        '-c', '--category',
        help='Mirrors in which state: all, online, configuring or offline.'
        ' Default: all')
    p.set_defaults(func=bdev_mirror_get_bdevs)


def bdev_mirror_create(args):
    # Both habits of SPDK's own commands: -b "a b" and -b a b.
    base_bdevs = [name for word in args.base_bdevs for name in word.split()]
    show(args.client.call('bdev_mirror_create', given(
        name=args.name,
        base_bdevs=base_bdevs,
        uuid=args.uuid,
        log_type=args.log_type,
        initial_sync=args.initial_sync,
        size_mb=args.size_mb,
        read_policy=args.read_policy,
        data_offset_kb=args.data_offset_kb,
        unmap=args.unmap,
        require_durable_legs=args.require_durable_legs)))


def bdev_mirror_delete(args):
    args.client.call('bdev_mirror_delete', given(
        name=args.name,
        wipe=args.wipe,
        force=args.force))


def bdev_mirror_stop(args):
    args.client.call('bdev_mirror_stop', given(
        name=args.name))


def bdev_mirror_get_bdevs(args):
    show(args.client.call('bdev_mirror_get_bdevs', given(
        name=args.name,
        category=args.category)))


def given(**params):
    """The parameters that were given."""
    return {name: value for name, value in params.items() if value is not None}


def show(result):
    """Prints a result; there is none in a dry run or a batch."""
    if result is not None:
        print(json.dumps(result, indent=2))
