/** What goes when a branch is deleted, or why nothing does. Pure. */
import type { BranchRow } from '@coppice/catalog';
import { CoppiceError } from '@coppice/service-kit';
import type { BranchId } from '@coppice/vocabulary';
import { branchNotFound } from '../access/authorize';

export type Children = 'refuse' | 'delete' | 'keep';
/** Branches that one request deletes at most. */
export const MAX_SUBTREE = 10_000;

export function childrenOf(text: string): Children {
  if (text === '') return 'refuse';
  if (text === 'refuse' || text === 'delete' || text === 'keep') return text;
  throw new CoppiceError('Malformed', 'bad-children', `children is ${JSON.stringify(text.slice(0, 40))}`, {
    remedy: 'Use refuse, delete or keep.',
  });
}

export interface DeletionRequest {
  readonly id: BranchId;
  readonly children: Children;
  /** Said to mean the project's default branch. */
  readonly defaultBranch: boolean;
}

export interface SubtreeFound {
  /** The branch, and with children `delete` all that descends from it; `undefined` when these are too many. */
  readonly subtree: readonly BranchRow[] | undefined;
  /** Some of its children, when these are a reason to refuse. */
  readonly inTheWay: readonly { readonly id: BranchId; readonly name: string }[];
}

/** The branches that go, of which the default one needs a successor. Throws when they may not. */
export function planDeletion(
  { id, children, defaultBranch }: DeletionRequest,
  { subtree, inTheWay }: SubtreeFound,
): { readonly root: BranchRow; readonly ids: BranchId[]; readonly formerDefault: BranchId | undefined } {
  if (subtree === undefined) throw tooLarge(id);
  const root = subtree.find((b) => b.id === id);
  if (!root) throw branchNotFound(id);
  const shielded = subtree.find((b) => b.is_protected);
  if (shielded) throw protectedBranch(shielded);
  const standard = subtree.find((b) => b.is_default);
  if (standard && !defaultBranch)
    throw new CoppiceError(
      'Conflict',
      'default-branch',
      `branch ${named(standard)} is the project's default branch`,
      {
        remedy:
          'Make another branch the default one, or say default_branch: the oldest branch left becomes the default then, and a project with none left is deleted.',
      },
    );
  if (children === 'refuse' && inTheWay.length > 0)
    throw new CoppiceError(
      'Conflict',
      'branch-has-children',
      `branch ${id} has child branches: ${inTheWay.map(named).join(', ')}`,
      { remedy: 'Say with children whether they are deleted with it or kept.' },
    );
  return { root, ids: subtree.map((b) => b.id), formerDefault: standard?.id };
}

export function protectedBranch(branch: { readonly id: string; readonly name: string }): CoppiceError {
  return new CoppiceError('Conflict', 'branch-protected', `branch ${named(branch)} is protected`, {
    remedy: 'Lift the protection first.',
  });
}

function tooLarge(id: BranchId): CoppiceError {
  return new CoppiceError(
    'Conflict',
    'subtree-too-large',
    `more than ${MAX_SUBTREE} branches descend from ${id}`,
    { remedy: 'Delete it in parts, from the leaves up.' },
  );
}

function named(branch: { readonly id: string; readonly name: string }): string {
  return `${JSON.stringify(branch.name)} (${branch.id})`;
}
